"""Sums and softmaxes over captions whose words are packed one caption after another.

Words of all captions of a block stand in one matrix; a caption index, int32 `[blocks, words]`,
says which caption each word belongs to, counted from 0 in every block. Padding words have the
index -1. Every caption has at least one word, so the index alone tells how many captions there are.
"""

import tensorflow as tf


def num_captions(caption_index: tf.Tensor) -> tf.Tensor:
    """Returns the number of captions in a block, the largest of all blocks (a scalar)."""
    return tf.reduce_max(caption_index) + 1


def pack_words(words: tf.Tensor, word_mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Packs a padded batch of captions into one block.

    Args:
        words: `[captions, tokens, width]`, padded word vectors.
        word_mask: boolean `[captions, tokens]`, True for real words.

    Returns:
        The real words `[1, words, width]` and their caption index, int32 `[1, words]`.
    """
    rows = tf.where(word_mask)
    packed = tf.gather_nd(words, rows)
    return packed[None], tf.cast(rows[None, :, 0], tf.int32)


def _flat_segments(x: tf.Tensor, caption_index: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Lays `[blocks, images, words, width]` out as `[blocks * words, images, width]`."""
    captions = num_captions(caption_index)
    blocks = tf.shape(x)[0]
    ids = caption_index + tf.range(blocks)[:, None] * captions
    ids = tf.reshape(tf.where(caption_index < 0, -1, ids), [-1])
    rows = tf.transpose(x, [0, 2, 1, 3])
    rows = tf.reshape(rows, tf.concat([[-1], tf.shape(rows)[2:]], axis=0))
    return rows, ids, blocks * captions


def _per_caption(segments: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Back from `[blocks * captions, images, width]` to `[blocks, images, captions, width]`."""
    shape = tf.shape(x)
    per_caption = tf.reshape(segments, [shape[0], -1, shape[1], shape[3]])
    per_caption = tf.transpose(per_caption, [0, 2, 1, 3])
    return tf.ensure_shape(per_caption, [x.shape[0], x.shape[1], None, x.shape[3]])


def sum_by_caption(x: tf.Tensor, caption_index: tf.Tensor) -> tf.Tensor:
    """Sums the packed words of each caption.

    Args:
        x: `[blocks, images, words, width]`.
        caption_index: int32 `[blocks, words]`, -1 for padding.

    Returns:
        `[blocks, images, captions, width]` in the dtype of `x`.
    """
    rows, ids, segments = _flat_segments(x, caption_index)
    return _per_caption(tf.math.unsorted_segment_sum(rows, ids, segments), x)


def spread_to_words(per_caption: tf.Tensor, caption_index: tf.Tensor) -> tf.Tensor:
    """Gives every packed word the vector of its caption.

    Args:
        per_caption: `[blocks, images, captions, width]`.
        caption_index: int32 `[blocks, words]`; padding words get the first caption's vector.

    Returns:
        `[blocks, images, words, width]`.
    """
    captions_first = tf.transpose(per_caption, [0, 2, 1, 3])
    words = tf.gather(captions_first, tf.maximum(caption_index, 0), batch_dims=1)
    return tf.transpose(words, [0, 2, 1, 3])


def softmax_by_caption(logits: tf.Tensor, caption_index: tf.Tensor) -> tf.Tensor:
    """Softmax over the packed words of each caption.

    Args:
        logits: `[blocks, images, words]`, float32 or float64.
        caption_index: int32 `[blocks, words]`, -1 for padding.

    Returns:
        Weights `[blocks, images, words]`; padding words weigh 0.
    """
    x = logits[..., None]
    rows, ids, segments = _flat_segments(x, caption_index)
    largest = _per_caption(tf.math.unsorted_segment_max(rows, ids, segments), x)
    # The softmax does not depend on the shift, so no gradient goes through it.
    shifted = x - spread_to_words(tf.stop_gradient(largest), caption_index)
    real = (caption_index >= 0)[:, None, :, None]
    powers = tf.where(real, tf.exp(tf.where(real, shifted, 0)), 0)
    totals = spread_to_words(sum_by_caption(powers, caption_index), caption_index)
    return tf.squeeze(tf.math.divide_no_nan(powers, totals), -1)
