"""Exact scores of all images against all captions, block by block."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.model import HSLM

IMAGES_AT_ONCE = 8
CAPTIONS_AT_ONCE = 128


def score_matrix(
    model: HSLM,
    dataset: RetrievalDataset,
    images_at_once: int = IMAGES_AT_ONCE,
    captions_at_once: int = CAPTIONS_AT_ONCE,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Scores every image of a dataset against every caption.

    Args:
        model: the model; its tokenizer reads the captions.
        dataset: images and captions.
        images_at_once: images of a block.
        captions_at_once: captions of a block.
        progress: called with the number of captions done after every block.

    Returns:
        Float32 `[num_images, num_captions]`.
    """
    scores = np.empty((dataset.num_images, dataset.num_captions), np.float32)
    order = caption_order(model, dataset)
    for captions, block in score_blocks([model], dataset, order, images_at_once, captions_at_once):
        scores[:, captions] = block
        if progress is not None:
            progress(len(captions))
    return scores


def score_blocks(
    models: Sequence[HSLM],
    dataset: RetrievalDataset,
    captions: np.ndarray,
    images_at_once: int = IMAGES_AT_ONCE,
    captions_at_once: int = CAPTIONS_AT_ONCE,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores every image of a dataset against captions, some captions after the other.

    Images are encoded once and held, captions are streamed.

    Args:
        models: one model, or an ensemble whose scores are averaged; the tokenizer of each reads the
            captions.
        dataset: images and captions.
        captions: int `[n]`, the captions to score, such as `caption_order` or a part of it.
        images_at_once: images of a block.
        captions_at_once: captions of a block.

    Yields:
        The captions of a block, int `[b]`, and their scores, float32 `[num_images, b]`.
    """
    images = [encode_images(model, dataset) for model in models]
    tokens = [model.tokenizer.tokenize_all(dataset.captions) for model in models]
    for first in range(0, len(captions), captions_at_once):
        rows = captions[first : first + captions_at_once]
        scores = [
            model.score_encoded(
                encoded, model.encode_tokens(ids.padded(rows)), images_at_once
            ).numpy()
            for model, encoded, ids in zip(models, images, tokens, strict=True)
        ]
        yield rows, sum(scores[1:], start=scores[0]) / np.float32(len(scores))


def caption_order(model: HSLM, dataset: RetrievalDataset) -> np.ndarray:
    """All captions by length, so that those of a block need little padding.

    Args:
        model: the model; its tokenizer reads the captions.
        dataset: the captions.

    Returns:
        int64 `[num_captions]`, a permutation.
    """
    offsets = model.tokenizer.tokenize_all(dataset.captions).offsets
    return np.argsort(np.diff(offsets), kind="stable")


def encode_images(
    model: HSLM, dataset: RetrievalDataset, images_at_once: int = 100
) -> dict[str, tf.Tensor]:
    """Encodes every image of a dataset once.

    Args:
        model: the model.
        dataset: the images.
        images_at_once: images of a batch.

    Returns:
        Output of the image encoder for all images, `"regions"` `[num_images, N, joint_dim]` first.
    """
    encoded = {}
    for first in range(0, dataset.num_images, images_at_once):
        rows = np.arange(first, min(first + images_at_once, dataset.num_images))
        for key, block in model.encode_image(*dataset.read_images(rows)).items():
            if key not in encoded:
                shape = (dataset.num_images, *block.shape[1:])
                encoded[key] = tf.raw_ops.Empty(shape=shape, dtype=block.dtype)
            # In place: all blocks joined at the end would be in memory twice.
            encoded[key] = tf.raw_ops.InplaceUpdate(x=encoded[key], i=rows, v=block)
    return encoded
