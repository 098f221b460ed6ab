"""How a retrieval model learns."""

# ruff: noqa: E402
import hslm_tf

hslm_tf.use_tensorflow()

from hslm_tf.training.backbone_adam import BackboneAdam
from hslm_tf.training.contrastive_loss import ContrastiveLoss
from hslm_tf.training.curriculum import LossCurriculum, NegativeCurriculum
from hslm_tf.training.retrieval_loss import BatchLosses, RetrievalLoss, ScoredBatch
from hslm_tf.training.trainer import RetrievalTrainer
from hslm_tf.training.triplet_loss import HardestNegativeTripletLoss

__all__ = [
    "BackboneAdam",
    "BatchLosses",
    "ContrastiveLoss",
    "HardestNegativeTripletLoss",
    "LossCurriculum",
    "NegativeCurriculum",
    "RetrievalLoss",
    "RetrievalTrainer",
    "ScoredBatch",
]
