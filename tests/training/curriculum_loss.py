"""The triplet loss with a curriculum that is over within a few steps."""

from hslm_tf.training import HardestNegativeTripletLoss, NegativeCurriculum


def curriculum_loss(margin: float = 0.02, **kwargs) -> HardestNegativeTripletLoss:
    """With a margin that random weights satisfy now and then."""
    return HardestNegativeTripletLoss(margin, NegativeCurriculum(100, 100), seed=3, **kwargs)
