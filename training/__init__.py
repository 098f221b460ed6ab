"""How a retrieval model learns."""

from hslm_tf.training.curriculum import NegativeCurriculum
from hslm_tf.training.triplet_loss import HardestNegativeTripletLoss

__all__ = ["HardestNegativeTripletLoss", "NegativeCurriculum"]
