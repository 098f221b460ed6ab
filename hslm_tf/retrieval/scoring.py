"""Exact scores of all images against all captions, block by block."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.model import HSLM


def score_matrix(
    model: HSLM,
    dataset: RetrievalDataset,
    images_at_once: int = 8,
    captions_at_once: int = 128,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Scores every image of a dataset against every caption.

    Images are encoded once and held, captions are streamed. Memory beyond the matrix and the
    encoded images does not grow with the dataset.

    Args:
        model: the model; its tokenizer reads the captions.
        dataset: images and captions.
        images_at_once: images of a block.
        captions_at_once: captions of a block.
        progress: called with the number of captions done after every block.

    Returns:
        Float32 `[num_images, num_captions]`.
    """
    images = encode_images(model, dataset)
    tokens = model.tokenizer.tokenize_all(dataset.captions)
    # Captions of a block have about the same length, so that little is spent on padding.
    order = np.argsort(np.diff(tokens.offsets), kind="stable")
    scores = np.empty((dataset.num_images, dataset.num_captions), np.float32)
    for first in range(0, len(order), captions_at_once):
        rows = order[first : first + captions_at_once]
        texts = model.encode_tokens(tokens.padded(rows))
        scores[:, rows] = model.score_encoded(images, texts, images_at_once).numpy()
        if progress is not None:
            progress(len(rows))
    return scores


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
    blocks = [
        model.encode_image(
            *dataset.read_images(np.arange(first, min(first + images_at_once, dataset.num_images)))
        )
        for first in range(0, dataset.num_images, images_at_once)
    ]
    return {key: tf.concat([block[key] for block in blocks], axis=0) for key in blocks[0]}
