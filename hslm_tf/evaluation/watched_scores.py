"""What is worth seeing in a matrix of scores that is never whole in memory."""

from collections.abc import Sequence

import numpy as np


class WatchedScores:
    """Positives, hardest negatives and all scores of a few queries, from blocks of columns.

    Memory is a few numbers for every image and caption, and a row or column for every query.

    Args:
        caption_to_image: int `[num_captions]`, the image of each caption.
        num_images: number of images.
        images: q images whose scores are kept.
        captions: r captions whose scores are kept.

    Attributes:
        positives: float32 `[num_captions]`, score of each caption and its image.
        hardest_images: float32 `[num_captions]`, highest score of each caption and another image.
        hardest_captions: float32 `[num_images]`, highest score of each image and a caption of
            another.
        image_scores: float32 `[q, num_captions]`, scores of the watched images.
        caption_scores: float32 `[r, num_images]`, scores of the watched captions.
    """

    def __init__(
        self,
        caption_to_image: np.ndarray,
        num_images: int,
        images: Sequence[int] = (),
        captions: Sequence[int] = (),
    ) -> None:
        self._image = np.asarray(caption_to_image)
        self._images, self._captions = np.asarray(images, int), np.asarray(captions, int)
        num_captions = len(self._image)
        self.positives = np.zeros(num_captions, np.float32)
        self.hardest_images = np.zeros(num_captions, np.float32)
        self.hardest_captions = np.full(num_images, -np.inf, np.float32)
        self.image_scores = np.zeros((len(self._images), num_captions), np.float32)
        self.caption_scores = np.zeros((len(self._captions), num_images), np.float32)

    def add(self, scores: np.ndarray, captions: np.ndarray) -> None:
        """Takes some columns of the matrix.

        Args:
            scores: `[num_images, b]`.
            captions: int `[b]`, the captions of the columns.
        """
        own = self._image[captions], np.arange(len(captions))
        self.positives[captions] = scores[own]
        self.image_scores[:, captions] = scores[self._images]
        queries, columns = np.nonzero(self._captions[:, None] == captions)
        self.caption_scores[queries] = scores[:, columns].T
        negatives = scores.copy()
        negatives[own] = -np.inf
        self.hardest_images[captions] = negatives.max(axis=0)
        np.maximum(self.hardest_captions, negatives.max(axis=1), out=self.hardest_captions)

    def distributions(self) -> dict[str, np.ndarray]:
        """What a histogram shows.

        Returns:
            By name: the positives (`positive`), each query's hardest negative
            (`hardest_negative_i2t`, `_t2i`), and by how much its best positive is above that
            (`margin_i2t`, `_t2i`): above 0, the first answer is right.
        """
        best = np.full_like(self.hardest_captions, -np.inf)
        np.maximum.at(best, self._image, self.positives)
        return {
            "positive": self.positives,
            "hardest_negative_i2t": self.hardest_captions,
            "hardest_negative_t2i": self.hardest_images,
            "margin_i2t": best - self.hardest_captions,
            "margin_t2i": self.positives - self.hardest_images,
        }
