"""Scores of the few pairs that a loss needs."""

from collections.abc import Callable, Mapping

import tensorflow as tf

Encoding = Mapping[str, tf.Tensor]


def rows_of(encoding: Encoding, rows: tf.Tensor) -> dict[str, tf.Tensor]:
    """Takes some images or captions of an encoding.

    Args:
        encoding: tensors that share their first dimension.
        rows: int32 `[n]`.

    Returns:
        The same tensors with these rows only.
    """
    return {key: tf.gather(value, rows) for key, value in encoding.items()}


def score_pairs_bucketed(
    score_pairs: Callable[[Encoding, Encoding], tf.Tensor],
    images: Encoding,
    texts: Encoding,
    image_rows: tf.Tensor,
    text_rows: tf.Tensor,
) -> tf.Tensor:
    """Scores chosen pairs in three groups of similar length, which avoids most of the padding.

    Args:
        score_pairs: scores image i against caption i, `[n]`.
        images: output of the image encoder.
        texts: output of the text encoder.
        image_rows: int32 `[3 n]`, the image of each pair.
        text_rows: int32 `[3 n]`, the caption of each pair.

    Returns:
        Float32 `[3 n]`.
    """
    lengths = tf.math.count_nonzero(texts["word_mask"], axis=1, dtype=tf.int32)
    order = tf.argsort(tf.gather(lengths, text_rows), stable=True)
    scores = []
    for group in tf.split(order, 3):
        rows = tf.gather(text_rows, group)
        group_texts = rows_of({k: v for k, v in texts.items() if k == "text_global"}, rows)
        places = tf.range(tf.reduce_max(tf.gather(lengths, rows)))
        places += rows[:, None] * tf.shape(texts["word_mask"])[1]
        for key in ("words", "word_mask"):
            tokens = tf.reshape(texts[key], tf.concat([[-1], tf.shape(texts[key])[2:]], axis=0))
            group_texts[key] = tf.gather(tokens, places)
        group_images = rows_of(images, tf.gather(image_rows, group))
        scores.append(score_pairs(group_images, group_texts))
    return tf.gather(tf.concat(scores, axis=0), tf.math.invert_permutation(order))
