"""Encoded captions without their padding, as an image's list of captions takes them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hslm_tf.models.encoding import encoded_captions
from hslm_tf.models.hslm import HSLM


class PackedCaptions(NamedTuple):
    """What `HSLM.encode_text` gave for n captions, in the model's compute dtype."""

    words: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor
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
            [np.arange(starts[row], starts[row] + lengths[row]) for row in rows]
        )
        # In place: all blocks joined at the end would be in memory twice.
        real = tf.boolean_mask(texts["words"], texts["word_mask"])
        words = tf.raw_ops.InplaceUpdate(x=words, i=places.astype(np.int32), v=real)
        if "text_global" in texts:
            text_global = tf.raw_ops.InplaceUpdate(
                x=text_global, i=rows.astype(np.int32), v=texts["text_global"]
            )
        if watch is not None:
            watch(rows, texts)
    return PackedCaptions(
        words, tf.constant(starts, tf.int32), tf.constant(lengths, tf.int32), text_global
    )
