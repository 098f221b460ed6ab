"""A loss on image-caption pairs: the batch that it sees, and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import keras
import tensorflow as tf

from hslm_tf.training.replicas import all_gathered, gathered, share_of_replica

Encoding = Mapping[str, tf.Tensor]


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


class ScoredBatch:
    """A batch that scores what a loss asks for, pair i being image i and caption i.

    Each replica of a strategy encodes and scores its share, and sees the scores of the whole batch.

    Attributes:
        step: the training step, an integer scalar; counted from where the loss began.
    """

    def __init__(
        self,
        model: keras.Model,
        images: Encoding,
        texts: Encoding,
        image_index: tf.Tensor | None,
        token_ids: tf.Tensor,
        step: tf.Tensor,
    ) -> None:
        self._model, self._share_of_images = model, images
        self._images, self._texts = all_gathered(images), all_gathered(texts)
        self._token_ids = gathered(token_ids)
        if image_index is None:
            self._image_index = tf.range(tf.shape(self._token_ids)[0])
        else:
            self._image_index = gathered(image_index)
        self.step = step

    def all_scores(self, on: str = "score") -> tf.Tensor:
        """Scores all images against all captions.

        Args:
            on: `"score"` is that of the whole model, `"global"` that of its global vectors alone
                (the whole score where the image has none), `"alignment"` the mean cosine of words
                and what they attend to.

        Returns:
            `[batch, batch]`, with gradient; the pairs are on the diagonal.
        """
        return gathered(self._model.score_matrix(self._share_of_images, self._texts, on))

    def all_scores_without_gradient(self) -> tf.Tensor:
        """Scores all images against all captions, in less time and memory; `[batch, batch]`."""
        images, texts = (
            {key: tf.stop_gradient(x) for key, x in part.items()}
            for part in (self._share_of_images, self._texts)
        )
        return gathered(tf.stop_gradient(self._model.score_all(images, texts)))

    def scores_of(self, image_rows: tf.Tensor, text_rows: tf.Tensor) -> tf.Tensor:
        """Scores chosen pairs with gradient, `[pairs]`; rows are int32 `[pairs]`."""
        rows = share_of_replica(image_rows), share_of_replica(text_rows)
        return gathered(self._model.score_rows(self._images, self._texts, *rows))

    def negatives(self, same_text: bool = False) -> tf.Tensor:
        """Says which pairs are negatives, see `RetrievalLoss`; `[batch, batch]`, symmetric."""
        return admissible_negatives(self._image_index, None if same_text else self._token_ids)


def admissible_negatives(image_index: tf.Tensor, token_ids: tf.Tensor | None = None) -> tf.Tensor:
    """Says which pairs of a batch are negatives; without tokens, captions are not compared."""
    same_image = image_index[:, None] == image_index[None, :]
    if token_ids is None:
        return ~same_image
    same_text = tf.reduce_all(token_ids[:, None] == token_ids[None, :], axis=-1)
    # Image i has some caption with the words of caption j.
    described = tf.matmul(tf.cast(same_image, tf.float32), tf.cast(same_text, tf.float32)) > 0
    return ~(same_image | described | tf.transpose(described))


class Stage(NamedTuple):
    """The loss of an epoch, the same object in equal stages, and the step that it counts from."""

    loss: "RetrievalLoss"
    first_step: int = 0


class RetrievalLoss(ABC):
    """A loss on the pairs of a batch, pair i being image i and caption i.

    A new loss defines `__call__`, see docs/design.md. With arguments of its own it also extends
    `get_config`, and `keras.saving.register_keras_serializable` makes it known to saved models.

    Args:
        same_text_negatives: lets captions with the very same tokens be negatives of one another's
            images. Captions of the same image never are.
    """

    def __init__(self, same_text_negatives: bool = False) -> None:
        self.same_text_negatives = same_text_negatives

    @abstractmethod
    def __call__(self, batch: ScoredBatch) -> BatchLosses:
        """Computes the loss."""

    def at(self, step: int) -> Stage:
        """The stage of an epoch, by a step in its middle. The model builds one graph a stage."""
        return Stage(self)

    def negatives(self, batch: ScoredBatch) -> tf.Tensor:
        """Says which pairs are negatives; boolean `[batch, batch]`, symmetric."""
        return batch.negatives(self.same_text_negatives)

    def get_config(self) -> dict:
        return {"same_text_negatives": self.same_text_negatives}

    @classmethod
    def from_config(cls, config: dict) -> "RetrievalLoss":
        return cls(**config)
