"""What is worth seeing in a matrix of scores that is never whole in memory."""

import numpy as np


class WatchedScores:
    """Positives and hardest negatives, from blocks of columns.

    Memory is a few numbers for every image and caption.

    Args:
        caption_to_image: int `[num_captions]`, the image of each caption.
        num_images: number of images.

    Attributes:
        positives: float32 `[num_captions]`, score of each caption and its image.
        hardest_images: float32 `[num_captions]`, highest score of each caption and another image.
        hardest_captions: float32 `[num_images]`, highest score of each image and a caption of
            another.
    """

    def __init__(self, caption_to_image: np.ndarray, num_images: int) -> None:
        self._image = np.asarray(caption_to_image)
        num_captions = len(self._image)
        self.positives = np.zeros(num_captions, np.float32)
        self.hardest_images = np.zeros(num_captions, np.float32)
        self.hardest_captions = np.full(num_images, -np.inf, np.float32)

    def add(self, scores: np.ndarray, captions: np.ndarray) -> None:
        """Takes some columns of the matrix.

        Args:
            scores: `[num_images, b]`.
            captions: int `[b]`, the captions of the columns.
        """
        own = self._image[captions], np.arange(len(captions))
        self.positives[captions] = scores[own]
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
