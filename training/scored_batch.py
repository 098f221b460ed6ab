"""A batch of image-caption pairs, as a loss sees it."""

from collections.abc import Mapping
from typing import Protocol

import tensorflow as tf

from hslm_tf.training.hardest_negatives import admissible_negatives
from hslm_tf.training.replicas import all_gathered, gathered, own_share

Encoding = Mapping[str, tf.Tensor]


class Scoring(Protocol):
    """A model that scores encoded images and captions, such as `HSLM`."""

    def score_all(self, images: Encoding, texts: Encoding) -> tf.Tensor:
        """All images against all captions, `[n, m]`, in little memory and without gradient."""

    def score_matrix(self, images: Encoding, texts: Encoding, on: str) -> tf.Tensor:
        """All images against all captions, `[n, m]`, with gradient."""

    def score_rows(
        self, images: Encoding, texts: Encoding, image_rows: tf.Tensor, text_rows: tf.Tensor
    ) -> tf.Tensor:
        """Chosen pairs, `[pairs]`, with gradient."""


class ScoredBatch:
    """A batch that scores what a loss asks for, pair i being image i and caption i.

    Each replica of a strategy encodes and scores its share, and sees the scores of the whole batch.

    Args:
        model: scores encodings.
        images: encoded images.
        texts: encoded captions.
        image_index: int `[batch]`; pairs with the same value show the same image.
        token_ids: int `[batch, tokens]`, the captions, 0 for padding.
        step: the training step, an integer scalar; counted from where the loss began.

    Attributes:
        step: the training step.
    """

    def __init__(
        self,
        model: Scoring,
        images: Encoding,
        texts: Encoding,
        image_index: tf.Tensor,
        token_ids: tf.Tensor,
        step: tf.Tensor,
    ) -> None:
        self._model, self._own_images = model, images
        self._images, self._texts = all_gathered(images), all_gathered(texts)
        self._image_index, self._token_ids = gathered(image_index), gathered(token_ids)
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
        return gathered(self._model.score_matrix(self._own_images, self._texts, on))

    def all_scores_without_gradient(self) -> tf.Tensor:
        """Scores all images against all captions, in less time and memory; `[batch, batch]`."""
        images, texts = (
            {key: tf.stop_gradient(x) for key, x in part.items()}
            for part in (self._own_images, self._texts)
        )
        return gathered(tf.stop_gradient(self._model.score_all(images, texts)))

    def scores_of(self, image_rows: tf.Tensor, text_rows: tf.Tensor) -> tf.Tensor:
        """Scores chosen pairs.

        Args:
            image_rows: int32 `[pairs]`.
            text_rows: int32 `[pairs]`.

        Returns:
            `[pairs]`, with gradient.
        """
        rows = own_share(image_rows), own_share(text_rows)
        return gathered(self._model.score_rows(self._images, self._texts, *rows))

    def negatives(self, same_image: bool = False, same_text: bool = False) -> tf.Tensor:
        """Says which pairs are negatives.

        Args:
            same_image: other captions of the same image are negatives, too.
            same_text: captions with the very same tokens are negatives of one another's images.

        Returns:
            Boolean `[batch, batch]`, images x captions; symmetric.
        """
        tokens = None if same_text else self._token_ids
        return admissible_negatives(self._image_index, same_image, tokens)
