"""Encodes the images and captions of a dataset block by block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.hslm import HSLM
from hslm_tf.text.tokenizer import TokenizedCaptions

IMAGE_BLOCK_SIZE = 100
CAPTION_BLOCK_SIZE = 256


def encoded_blocks(
    model: HSLM, dataset: RetrievalDataset, images: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, dict[str, tf.Tensor]]]:
    """Encodes images block by block."""
    images = np.arange(dataset.num_images) if images is None else images
    for places in row_blocks(len(images), IMAGE_BLOCK_SIZE):
        yield places, model.encode_image(*dataset.read_images(images[places]))


def encode_images(model: HSLM, dataset: RetrievalDataset) -> dict[str, tf.Tensor]:
    """Encodes every image of a dataset once, to be held in memory."""
    encoded = {}
    for rows, encoding in encoded_blocks(model, dataset):
        for key, block in encoding.items():
            if key not in encoded:
                shape = (dataset.num_images, *block.shape[1:])
                encoded[key] = tf.raw_ops.Empty(shape=shape, dtype=block.dtype)
            # In place: all blocks joined at the end would be in memory twice.
            encoded[key] = tf.raw_ops.InplaceUpdate(x=encoded[key], i=rows, v=block)
    return encoded


def encoded_captions(
    model: HSLM, tokens: TokenizedCaptions
) -> Iterator[tuple[np.ndarray, dict[str, tf.Tensor]]]:
    """Encodes captions block by block, from the shortest to the longest."""
    order = np.argsort(np.diff(tokens.offsets), kind="stable")
    for places in row_blocks(len(order), CAPTION_BLOCK_SIZE):
        rows = order[places]
        yield rows, model.encode_tokens(tokens.padded(rows))


class PackedCaptions(NamedTuple):
    """Encoded captions without their padding, as `HSLM.score_lists` takes them."""

    words: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor
    # Has no columns in a model without global alignment.
    text_global: tf.Tensor


def pack_captions(
    model: HSLM,
    captions: Sequence[str],
    watch: Callable[[np.ndarray, Mapping[str, tf.Tensor]], object] | None = None,
) -> PackedCaptions:
    """Encodes captions, to be held in memory."""
    tokens = model.tokenizer.tokenize_all(captions)
    starts, lengths = tokens.offsets[:-1], np.diff(tokens.offsets)
    outputs = model.text_encoder.output
    dtype, width = outputs["words"].dtype, outputs["words"].shape[-1]
    words = tf.raw_ops.Empty(shape=(int(tokens.offsets[-1]), width), dtype=dtype)
    width = width if "text_global" in outputs else 0
    text_global = tf.raw_ops.Empty(shape=(len(captions), width), dtype=dtype)
    for rows, texts in encoded_captions(model, tokens):
        places = np.concatenate(
            [np.arange(starts[row], starts[row] + lengths[row], dtype=np.int32) for row in rows]
        )
        # In place, as in `encode_images`.
        real = tf.boolean_mask(texts["words"], texts["word_mask"])
        words = tf.raw_ops.InplaceUpdate(x=words, i=places, v=real)
        if "text_global" in texts:
            text_global = tf.raw_ops.InplaceUpdate(
                x=text_global, i=rows.astype(np.int32), v=texts["text_global"]
            )
        if watch is not None:
            watch(rows, texts)
    return PackedCaptions(
        words, tf.constant(starts, tf.int32), tf.constant(lengths, tf.int32), text_global
    )
