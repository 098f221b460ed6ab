"""Encodes the images and captions of a dataset block by block."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.hslm import HSLM
from hslm_tf.text.tokenizer import TokenizedCaptions

IMAGE_BLOCK_SIZE = 100
CAPTION_BLOCK_SIZE = 256


def encoded_blocks(
    model: HSLM,
    dataset: RetrievalDataset,
    images: np.ndarray | None = None,
    image_block_size: int = IMAGE_BLOCK_SIZE,
) -> Iterator[tuple[np.ndarray, dict[str, tf.Tensor]]]:
    """Encodes images block by block."""
    images = np.arange(dataset.num_images) if images is None else images
    for places in row_blocks(len(images), image_block_size):
        yield places, model.encode_image(*dataset.read_images(images[places]))


def encode_images(
    model: HSLM, dataset: RetrievalDataset, image_block_size: int = IMAGE_BLOCK_SIZE
) -> dict[str, tf.Tensor]:
    """Encodes every image of a dataset once, to be held in memory."""
    encoded = {}
    for rows, encoding in encoded_blocks(model, dataset, None, image_block_size):
        for key, block in encoding.items():
            if key not in encoded:
                shape = (dataset.num_images, *block.shape[1:])
                encoded[key] = tf.raw_ops.Empty(shape=shape, dtype=block.dtype)
            # In place: all blocks joined at the end would be in memory twice.
            encoded[key] = tf.raw_ops.InplaceUpdate(x=encoded[key], i=rows, v=block)
    return encoded


def encoded_captions(
    model: HSLM, tokens: TokenizedCaptions, caption_block_size: int = CAPTION_BLOCK_SIZE
) -> Iterator[tuple[np.ndarray, dict[str, tf.Tensor]]]:
    """Encodes captions block by block, from the shortest to the longest."""
    order = np.argsort(np.diff(tokens.offsets), kind="stable")
    for places in row_blocks(len(order), caption_block_size):
        rows = order[places]
        yield rows, model.encode_tokens(tokens.padded(rows))
