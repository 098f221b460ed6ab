"""Bi-directional triplet loss on the hardest negatives of the batch (HSLM Eq. 23)."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from hslm_tf.training.curriculum import NegativeCurriculum
from hslm_tf.training.hardest_negatives import draw_candidates, hardest
from hslm_tf.training.retrieval_loss import BatchLosses, BatchScores, RetrievalLoss, Stage, either


class Negatives(NamedTuple):
    """The negatives of a batch: an index per query and whether there is one, all `[batch]`."""

    caption: tf.Tensor
    has_caption: tf.Tensor
    image: tf.Tensor
    has_image: tf.Tensor


@keras.saving.register_keras_serializable(package="hslm_tf")
class HardestNegativeTripletLoss(RetrievalLoss):
    """Bi-directional triplet loss on the hardest negatives of the batch (HSLM Eq. 23).

    For a pair (I, C) `[margin - S(I, C) + S(I, C')]_+ + [margin - S(I, C) + S(I', C)]_+` with C'
    the hardest caption for I and I' the hardest image for C; the mean over the batch. A collapsed
    model, whose scores are all equal, has a loss of twice the margin. Captions of the same image,
    and captions with the same tokens, are not negatives of one another. A query without an
    admissible negative contributes 0 and still counts in the mean.

    Only the hardest negatives receive a gradient. So the loss has two parts: `choose` picks them
    from scores without gradient, `__call__` takes the three scores of each pair with gradient.

    Args:
        margin: the margin beta.
        curriculum: share of the negatives to choose from by step; None for all from the start.
        same_image_negatives: lets other captions of the same image be negatives.
        same_text_negatives: lets captions with the same tokens be negatives.
        seed: seed of the drawn negatives.

    Raises:
        ValueError: if `margin` is not positive.
    """

    def __init__(
        self,
        margin: float = 0.2,
        curriculum: NegativeCurriculum | None = None,
        same_image_negatives: bool = False,
        seed: int = 0,
        same_text_negatives: bool = False,
    ) -> None:
        super().__init__(same_image_negatives, same_text_negatives)
        if margin <= 0:
            raise ValueError(f"`margin` must be positive. Received: margin={margin}")
        self.margin = margin
        self.curriculum = curriculum
        self.seed = seed

    def candidate_fraction(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the share of negatives that the hardest is chosen from, a scalar."""
        return tf.constant(1.0) if self.curriculum is None else self.curriculum(step)

    def candidates(self, admissible: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws the negatives to choose from, a pure function of the seed and the step.

        Args:
            admissible: boolean `[batch, batch]`, which pairs are negatives.
            step: the training step, an integer scalar.

        Returns:
            Two boolean `[batch, batch]`, queries x candidates: captions for each image and images
            for each caption, drawn separately.
        """
        if self.curriculum is None:
            return admissible, admissible
        noise = tf.random.stateless_uniform(
            tf.concat([[2], tf.shape(admissible)], axis=0),
            seed=tf.stack([tf.cast(self.seed, tf.int64), tf.cast(step, tf.int64)]),
        )
        candidate_fraction = self.candidate_fraction(step)
        return (
            draw_candidates(admissible, candidate_fraction, noise[0]),
            draw_candidates(admissible, candidate_fraction, noise[1]),
        )

    def stage(self, step: int) -> Stage:
        random = self.curriculum is not None and step < self.curriculum.random_steps
        return (not random,)

    def on_batch(
        self,
        scores: BatchScores,
        image_index: tf.Tensor,
        token_ids: tf.Tensor,
        step: tf.Tensor,
        stage: Stage = None,
    ) -> BatchLosses:
        admissible = self.admissible(image_index, token_ids)
        negatives = self.choose(scores.constant_matrix, admissible, step, stage)
        batch = tf.range(tf.shape(image_index)[0])
        chosen = scores.rows(
            tf.concat([batch, batch, negatives.image], axis=0),
            tf.concat([batch, negatives.caption, batch], axis=0),
        )
        return self(*tf.split(chosen, 3), negatives)

    def choose(
        self,
        score_all: Callable[[], tf.Tensor],
        admissible: tf.Tensor,
        step: tf.Tensor,
        stage: Stage = None,
    ) -> Negatives:
        """Chooses a negative caption and a negative image for every pair of the batch.

        Args:
            score_all: gives the scores of all images x captions, `[batch, batch]`; not called
                while every query has a single random negative.
            admissible: boolean `[batch, batch]`, which pairs are negatives.
            step: the training step, an integer scalar.
            stage: what `stage` says of the step; None decides in the graph.

        Returns:
            The negatives.
        """
        captions, images = self.candidates(admissible, step)
        shape = tf.shape(captions)
        scores = either(
            self.candidate_fraction(step) > 0 if stage is None else stage[0],
            lambda: tf.stop_gradient(tf.cast(score_all(), tf.float32)),
            lambda: tf.zeros(shape),
        )
        return Negatives(
            caption=hardest(scores, captions),
            has_caption=tf.reduce_any(captions, axis=-1),
            image=hardest(tf.transpose(scores), images),
            has_image=tf.reduce_any(images, axis=-1),
        )

    def __call__(
        self,
        positive: tf.Tensor,
        negative_caption: tf.Tensor,
        negative_image: tf.Tensor,
        negatives: Negatives,
    ) -> BatchLosses:
        """Computes the loss from the three scores of each pair.

        Args:
            positive: `[batch]`, S(I, C).
            negative_caption: `[batch]`, S(I, C').
            negative_image: `[batch]`, S(I', C).
            negatives: what `choose` returned.

        Returns:
            The loss and what is worth watching about it.
        """
        active = tf.stack([negatives.has_caption, negatives.has_image])
        negative = tf.stack([negative_caption, negative_image])
        hinges = tf.where(active, tf.nn.relu(self.margin - positive + negative), 0.0)
        count = tf.maximum(tf.math.count_nonzero(active, dtype=positive.dtype), 1.0)
        return BatchLosses(
            loss=tf.reduce_mean(tf.reduce_sum(hinges, axis=0)),
            active_hinges=tf.math.count_nonzero(hinges, dtype=positive.dtype) / count,
            positive_score=tf.reduce_mean(positive),
            negative_score=tf.reduce_sum(tf.where(active, negative, 0.0)) / count,
        )

    def get_config(self) -> dict:
        return {
            "margin": self.margin,
            "curriculum": keras.saving.serialize_keras_object(self.curriculum),
            "seed": self.seed,
            **super().get_config(),
        }

    @classmethod
    def from_config(cls, config: dict) -> "HardestNegativeTripletLoss":
        curriculum = keras.saving.deserialize_keras_object(config["curriculum"])
        return cls(**{**config, "curriculum": curriculum})
