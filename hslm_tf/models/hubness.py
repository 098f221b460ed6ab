"""Hubs: images and captions that are near to everything, and the correction of their scores.

Among a thousand images a few are among the first answers to very many captions. How near an item is
to queries of the training split says so before anybody asks. As in CSLS and QB-Norm, half of its
mean score with its nearest training queries is subtracted from its scores.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.encoding import encode_images, encoded_blocks, encoded_captions
from hslm_tf.models.hslm import HSLM

NUM_IMAGES, NUM_CAPTIONS = 700, 2000
# Chosen on Flickr8k's dev split, see docs/results.md.
NEIGHBOURS, WEIGHT = 5, 0.5


def draw_bank(
    train: RetrievalDataset,
    num_images: int = NUM_IMAGES,
    num_captions: int = NUM_CAPTIONS,
    seed: int = 0,
) -> RetrievalDataset:
    """Draws images and captions of the training split, apart: the captions have other images."""
    random = np.random.default_rng(seed)
    images = np.sort(random.permutation(train.num_images)[:num_images])
    captions = np.sort(random.permutation(train.num_captions)[:num_captions])
    return replace(
        train,
        captions=[train.captions[row] for row in captions],
        caption_to_image=np.zeros(len(captions), np.int32),
        image_rows=train.image_rows[images],
        image_ids=None,
        num_regions=None if train.num_regions is None else train.num_regions[images],
    )


class HubCorrection:
    """The correction of the scores of images and captions that are near to everything."""

    def __init__(
        self,
        model: HSLM,
        bank: RetrievalDataset,
        neighbours: int = NEIGHBOURS,
        weight: float = WEIGHT,
    ) -> None:
        smallest = min(bank.num_images, bank.num_captions)
        if not 1 <= neighbours <= smallest:
            raise ValueError(
                f"`neighbours` must be from 1 to the {smallest} items of the bank. "
                f"Received: neighbours={neighbours}"
            )
        self._model, self._neighbours, self._weight = model, neighbours, weight
        self._images = encode_images(model, bank)
        tokens = model.tokenizer.tokenize_all(bank.captions)
        self._texts = [texts for _, texts in encoded_captions(model, tokens)]

    def of_dataset(
        self, dataset: RetrievalDataset, progress: Callable[[int], object] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Measures the images and captions of a dataset."""
        images = np.empty(dataset.num_images, np.float32)
        captions = np.empty(dataset.num_captions, np.float32)
        for rows, encoded in encoded_blocks(self._model, dataset):
            images[rows] = self._correction(
                self._model.score_encoded(encoded, texts) for texts in self._texts
            )
            if progress is not None:
                progress(len(rows))
        tokens = self._model.tokenizer.tokenize_all(dataset.captions)
        for rows, texts in encoded_captions(self._model, tokens):
            captions[rows] = self._correction(
                [tf.transpose(self._model.score_encoded(self._images, texts))]
            )
            if progress is not None:
                progress(len(rows))
        return images, captions

    def _correction(self, blocks: Iterable[tf.Tensor]) -> np.ndarray:
        """Mean of the highest scores of each item, from blocks `[items, queries]`, weighted."""
        highest = None
        for scores in blocks:
            scores = scores if highest is None else tf.concat([highest, scores], axis=1)
            highest = tf.math.top_k(scores, min(self._neighbours, scores.shape[1])).values
        return self._weight * np.mean(highest, axis=1, dtype=np.float32)
