"""Which negatives a query may take, and the hardest of them (HSLM Sec. 3.6)."""

import tensorflow as tf


def admissible_negatives(
    image_index: tf.Tensor,
    same_image_negatives: bool = False,
    token_ids: tf.Tensor | None = None,
) -> tf.Tensor:
    """Says which pairs of a batch are negatives."""
    if same_image_negatives:
        admissible = ~tf.eye(tf.shape(image_index)[0], dtype=tf.bool)
    else:
        admissible = image_index[:, None] != image_index[None, :]
    if token_ids is not None:
        same_image = image_index[:, None] == image_index[None, :]
        same_text = tf.reduce_all(token_ids[:, None] == token_ids[None, :], axis=-1)
        # Image i has some caption with the words of caption j.
        described = tf.matmul(tf.cast(same_image, tf.float32), tf.cast(same_text, tf.float32)) > 0
        admissible &= same_image | ~(described | tf.transpose(described))
    return admissible


def draw_candidates(
    admissible: tf.Tensor, candidate_fraction: tf.Tensor, noise: tf.Tensor
) -> tf.Tensor:
    """Draws k of each query's admissible negatives, `k = max(1, ceil(fraction (batch - 1)))`."""
    batch = tf.cast(tf.shape(admissible)[1], tf.float32)
    # A rounding error in the product must not raise a whole number to the next one.
    drawn = tf.maximum(1, tf.cast(tf.math.ceil(candidate_fraction * (batch - 1) - 1e-4), tf.int32))
    noise = tf.where(admissible, noise, 2.0)
    order = tf.argsort(tf.argsort(noise, axis=-1, stable=True), axis=-1, stable=True)
    return admissible & (order < drawn)


def hardest(scores: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Finds the highest-scoring candidate of every query, ties to the first index."""
    scores = tf.where(candidates, scores, scores.dtype.min)
    best = tf.equal(scores, tf.reduce_max(scores, axis=-1, keepdims=True))
    # Which of several maxima tf.argmax returns is not documented.
    places = tf.range(tf.shape(scores)[1])
    return tf.reduce_min(tf.where(best, places, places[-1]), axis=-1)
