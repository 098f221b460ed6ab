"""A loss on image-caption pairs: what it takes and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import tensorflow as tf

from hslm_tf.training.hardest_negatives import admissible_negatives

Stage = tuple | None
Result = TypeVar("Result")


class BatchScores(NamedTuple):
    """Ways to score the pairs of a batch; a loss calls those that it needs.

    Attributes:
        matrix_loss: called with a function from the scores of all images x captions,
            `[batch, batch]`, to a loss, and with what to score: `"score"` is the whole model,
            `"global"` its global vectors alone, `"alignment"` the mean cosine of words and what
            they attend to; returns the loss, with gradient.
        constant_matrix: the scores of all images x captions without gradient, which takes less time
            and memory.
        rows: called with int32 `image_rows` and `text_rows` `[pairs]`; scores of these pairs with
            gradient, `[pairs]`.
    """

    matrix_loss: Callable[[Callable[[tf.Tensor], "BatchLosses"], str], "BatchLosses"]
    constant_matrix: Callable[[], tf.Tensor]
    rows: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class BatchLosses(NamedTuple):
    """Loss of a batch and what is worth watching about it, all scalars.

    Attributes:
        loss: what is minimized.
        active_hinges: share of the queries that still have a negative too near: within the margin
            in a triplet loss, above the pair itself in a contrastive loss.
        positive_score: mean score of the pairs.
        negative_score: mean score of the hardest negatives.
    """

    loss: tf.Tensor
    active_hinges: tf.Tensor
    positive_score: tf.Tensor
    negative_score: tf.Tensor


def either(
    condition: bool | tf.Tensor, then: Callable[[], Result], otherwise: Callable[[], Result]
) -> Result:
    """Computes one of two things; only a condition that is not known yet comes into the graph.

    Args:
        condition: a boolean, or a boolean scalar of the graph.
        then: called where it holds.
        otherwise: called where it does not hold.

    Returns:
        What was computed.
    """
    if isinstance(condition, bool):
        return then() if condition else otherwise()
    return tf.cond(condition, then, otherwise)


class RetrievalLoss(ABC):
    """A loss on the pairs of a batch, pair i being image i and caption i.

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
    def on_batch(
        self,
        scores: BatchScores,
        image_index: tf.Tensor,
        token_ids: tf.Tensor,
        step: tf.Tensor,
        stage: Stage = None,
    ) -> BatchLosses:
        """Computes the loss.

        Args:
            scores: ways to score the batch.
            image_index: int `[batch]`; pairs with the same value show the same image.
            token_ids: int `[batch, tokens]`, the captions, 0 for padding.
            step: the training step, an integer scalar.
            stage: what `stage` says of the step; None decides in the graph.

        Returns:
            The loss and what is worth watching about it.
        """

    def stage(self, step: int) -> Stage:
        """Says what is computed at a step, where that changes with the step.

        Replicas cannot meet within a condition of the graph. So with several of them there is a
        graph for every stage.

        Args:
            step: the training step.

        Returns:
            The same for steps that compute the same; never None.
        """
        return ()

    def candidate_fraction(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the share of the negatives that takes part at a step, a scalar in [0, 1]."""
        return tf.constant(1.0)

    def admissible(self, image_index: tf.Tensor, token_ids: tf.Tensor) -> tf.Tensor:
        """Says which pairs are negatives, boolean `[batch, batch]`, images x captions."""
        return admissible_negatives(
            image_index,
            self.same_image_negatives,
            None if self.same_text_negatives else token_ids,
        )

    def get_config(self) -> dict:
        return {
            "same_image_negatives": self.same_image_negatives,
            "same_text_negatives": self.same_text_negatives,
        }
