"""Sums and softmaxes over captions whose words are packed one caption after another.

Words of all captions of a block stand in one matrix; a caption index, int32 `[blocks, words]`,
says which caption each word belongs to, counted from 0 in every block and never decreasing. Padding
words come last and have the index -1. Every caption has at least one word, so the index alone tells
how many captions there are.
"""

from typing import NamedTuple

import tensorflow as tf


def num_captions(segment_ids: tf.Tensor) -> tf.Tensor:
    """Returns the largest number of captions in a block, a scalar."""
    return tf.reduce_max(segment_ids) + 1


def pack_words(words: tf.Tensor, word_mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Packs a padded batch of captions into one block."""
    rows = tf.where(word_mask)
    packed = tf.gather_nd(words, rows)
    return packed[None], tf.cast(rows[None, :, 0], tf.int32)


class _Segments(NamedTuple):
    """The captions of all blocks and images as segments of one long list of words."""

    # The first segment of every block is extra: it takes the padding words of the block before, so
    # that ids never decrease, as `tf.math.segment_sum` requires.
    ids: tf.Tensor
    # Blocks, images, captions + 1.
    shape: tf.Tensor


def _segments(segment_ids: tf.Tensor, images: tf.Tensor) -> _Segments:
    blocks, captions = tf.shape(segment_ids)[0], num_captions(segment_ids)
    lists = tf.reshape(tf.range(blocks * images), [blocks, images, 1])
    places = tf.where(segment_ids < 0, captions, segment_ids)[:, None] + 1
    ids = lists * (captions + 1) + places
    return _Segments(tf.reshape(ids, [-1]), tf.stack([blocks, images, captions + 1]))


def _reduce(reduction, x: tf.Tensor, segments: _Segments) -> tf.Tensor:
    """Reduces `[blocks, images, words, width]` to `[blocks, images, captions, width]`."""
    width = tf.shape(x)[-1]
    reduced = reduction(tf.reshape(x, [-1, width]), segments.ids)
    # Captions missing at the end leave rows out, and padding of the last block adds one row.
    total = tf.reduce_prod(segments.shape)
    reduced = tf.pad(reduced[:total], [[0, tf.maximum(total - tf.shape(reduced)[0], 0)], [0, 0]])
    per_caption = tf.reshape(reduced, tf.concat([segments.shape, [width]], axis=0))[:, :, 1:]
    return tf.ensure_shape(per_caption, [x.shape[0], x.shape[1], None, x.shape[3]])


def _spread(per_caption: tf.Tensor, segments: _Segments) -> tf.Tensor:
    """Gives every word the row of its caption, `[blocks * images * words, width]`."""
    rows = tf.pad(per_caption, [[0, 0], [0, 0], [1, 0], [0, 0]])
    rows = tf.reshape(rows, [-1, tf.shape(per_caption)[-1]])
    # The ids of padding in the last block point behind the end.
    return tf.gather(rows, tf.minimum(segments.ids, tf.shape(rows)[0] - 1))


def sum_by_caption(x: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
    """Sums the packed words of each caption."""
    return _reduce(tf.math.segment_sum, x, _segments(segment_ids, tf.shape(x)[1]))


def spread_to_words(per_caption: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
    """Gives every packed word the vector of its caption."""
    images, width = tf.shape(per_caption)[1], tf.shape(per_caption)[3]
    rows = _spread(per_caption, _segments(segment_ids, images))
    blocks, words = tf.unstack(tf.shape(segment_ids))
    spread = tf.reshape(rows, [blocks, images, words, width])
    return tf.ensure_shape(
        spread,
        [per_caption.shape[0], per_caption.shape[1], segment_ids.shape[1], per_caption.shape[3]],
    )


def softmax_by_caption(logits: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
    """Softmax over the packed words of each caption."""
    x = logits[..., None]
    segments = _segments(segment_ids, tf.shape(logits)[1])
    # The softmax does not depend on the shift, so no gradient goes through it.
    largest = tf.stop_gradient(_reduce(tf.math.segment_max, x, segments))
    shifted = logits - tf.reshape(_spread(largest, segments), tf.shape(logits))
    real = (segment_ids >= 0)[:, None]
    powers = tf.where(real, tf.exp(tf.where(real, shifted, 0)), 0)
    totals = _spread(_reduce(tf.math.segment_sum, powers[..., None], segments), segments)
    return tf.math.divide_no_nan(powers, tf.reshape(totals, tf.shape(powers)))
