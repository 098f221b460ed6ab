"""Bi-directional triplet loss on the hardest negatives of the batch (HSLM Eq. 23)."""

import copy
import functools
from typing import NamedTuple

import keras
import tensorflow as tf

from hslm_tf.training.curriculum import NegativeCurriculum
from hslm_tf.training.retrieval_loss import BatchLosses, RetrievalLoss, ScoredBatch, Stage


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
    from scores without gradient, `of_scores` takes the three scores of each pair with gradient.

    Args:
        margin: the margin beta.
        curriculum: share of the negatives to choose from by step; None for all from the start.
        same_text_negatives: lets captions with the same tokens be negatives.
        seed: seed of the drawn negatives.

    Raises:
        ValueError: if `margin` is not positive.
    """

    def __init__(
        self,
        margin: float = 0.2,
        curriculum: NegativeCurriculum | None = None,
        seed: int = 0,
        same_text_negatives: bool = False,
    ) -> None:
        super().__init__(same_text_negatives)
        if margin <= 0:
            raise ValueError(f"`margin` must be positive. Received: margin={margin}")
        self.margin = margin
        self.curriculum = curriculum
        self.seed = seed
        self._random_only = False

    def candidate_fraction(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the share of negatives that the hardest is chosen from, a scalar."""
        if self._random_only:
            return tf.constant(0.0)
        return tf.constant(1.0) if self.curriculum is None else self.curriculum(step)

    def candidates(self, admissible: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws captions for each image, and images for each caption, to choose negatives from."""
        if self.curriculum is None:
            return admissible, admissible
        # A pure function of the seed and the step, so that a resumed run draws the same.
        noise = tf.random.stateless_uniform(
            tf.concat([[2], tf.shape(admissible)], axis=0),
            seed=tf.stack([tf.cast(self.seed, tf.int64), tf.cast(step, tf.int64)]),
        )
        fraction = self.candidate_fraction(step)
        captions, images = (draw_candidates(admissible, fraction, x) for x in tf.unstack(noise))
        return captions, images

    def at(self, step: int) -> Stage:
        random = self.curriculum is not None and step < self.curriculum.random_steps
        return Stage(self._with_random_negatives if random else self)

    @functools.cached_property
    def _with_random_negatives(self) -> "HardestNegativeTripletLoss":
        """This loss while every query has one random negative, so that no scores are needed."""
        loss = copy.copy(self)
        loss._random_only = True
        return loss

    def __call__(self, batch: ScoredBatch) -> BatchLosses:
        scores = None if self._random_only else batch.all_scores_without_gradient()
        negatives = self.choose(scores, self.negatives(batch), batch.step)
        pairs = tf.range(tf.size(negatives.image))
        chosen = batch.scores_of(
            tf.concat([pairs, pairs, negatives.image], axis=0),
            tf.concat([pairs, negatives.caption, pairs], axis=0),
        )
        losses = self.of_scores(*tf.split(chosen, 3), negatives)
        return losses._replace(candidate_fraction=self.candidate_fraction(batch.step))

    def choose(self, scores: tf.Tensor | None, admissible: tf.Tensor, step: tf.Tensor) -> Negatives:
        """Chooses negatives by scores `[batch, batch]`; None while each query has a single one."""
        captions, images = self.candidates(admissible, step)
        scores = tf.zeros(tf.shape(captions)) if scores is None else tf.cast(scores, tf.float32)
        return Negatives(
            caption=hardest(scores, captions),
            has_caption=tf.reduce_any(captions, axis=-1),
            image=hardest(tf.transpose(scores), images),
            has_image=tf.reduce_any(images, axis=-1),
        )

    def of_scores(
        self,
        positive: tf.Tensor,
        negative_caption: tf.Tensor,
        negative_image: tf.Tensor,
        negatives: Negatives,
    ) -> BatchLosses:
        """Computes the loss from `S(I, C)`, `S(I, C')` and `S(I', C)` of each pair, `[batch]`."""
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


def draw_candidates(
    admissible: tf.Tensor, candidate_fraction: tf.Tensor, noise: tf.Tensor
) -> tf.Tensor:
    """Draws k of each query's admissible negatives, `k = max(1, ceil(fraction (batch - 1)))`."""
    batch = tf.cast(tf.shape(admissible)[1], tf.float32)
    # A rounding error in the product must not raise a whole number to the next one.
    drawn = tf.maximum(1, tf.cast(tf.math.ceil(candidate_fraction * (batch - 1) - 1e-4), tf.int32))
    noise = tf.where(admissible, noise, 2.0)
    order = tf.argsort(tf.argsort(noise, axis=-1, stable=True), axis=-1, stable=True)
    return admissible & (order < drawn)


def hardest(scores: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Finds the highest-scoring candidate of every query, ties to the first index."""
    scores = tf.where(candidates, scores, scores.dtype.min)
    best = tf.equal(scores, tf.reduce_max(scores, axis=-1, keepdims=True))
    # The documentation of tf.argmax does not say which of several maxima it returns.
    places = tf.range(tf.shape(scores)[1])
    return tf.reduce_min(tf.where(best, places, places[-1]), axis=-1)
