"""A loss on image-caption pairs: what it takes and what it returns."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import tensorflow as tf

from hslm_tf.training.scored_batch import ScoredBatch


class BatchLosses(NamedTuple):
    """Loss of a batch and what is worth watching about it, all scalars.

    Attributes:
        loss: what is minimized.
        active_hinges: share of the queries that still have a negative too near: within the margin
            in a triplet loss, above the pair itself in others.
        positive_score: mean score of the pairs.
        negative_score: mean score of the hardest negatives.
        candidate_fraction: share of the negatives that the hardest is chosen from.
    """

    loss: tf.Tensor
    active_hinges: tf.Tensor
    positive_score: tf.Tensor
    negative_score: tf.Tensor
    candidate_fraction: tf.Tensor | float = 1.0


class Stage(NamedTuple):
    """What is computed in an epoch, where losses follow one another."""

    loss: "RetrievalLoss"
    first_step: int = 0


class RetrievalLoss(ABC):
    """A loss on the pairs of a batch, pair i being image i and caption i.

    A new loss has to define `__call__` alone, see docs/design.md.

    Args:
        same_image_negatives: lets other captions of the same image be negatives.
        same_text_negatives: lets captions with the very same tokens be negatives of one another's
            images.
    """

    def __init__(
        self, same_image_negatives: bool = False, same_text_negatives: bool = False
    ) -> None:
        self.same_image_negatives = same_image_negatives
        self.same_text_negatives = same_text_negatives

    @abstractmethod
    def __call__(self, batch: ScoredBatch) -> BatchLosses:
        """Computes the loss."""

    def at(self, step: int) -> Stage:
        """The stage of an epoch; the model has a graph of its own for every stage.

        Args:
            step: a training step in the middle of the epoch.
        """
        return Stage(self)

    def negatives(self, batch: ScoredBatch) -> tf.Tensor:
        """Says which pairs are negatives, boolean `[batch, batch]`, images x captions."""
        return batch.negatives(self.same_image_negatives, self.same_text_negatives)

    def get_config(self) -> dict:
        return {
            "same_image_negatives": self.same_image_negatives,
            "same_text_negatives": self.same_text_negatives,
        }

    @classmethod
    def from_config(cls, config: dict) -> "RetrievalLoss":
        return cls(**config)
