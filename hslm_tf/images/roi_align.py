"""Pools regions from a convolutional map."""

import tensorflow as tf

# Detectors divide a region into 7 x 7 bins and read 2 x 2 points of each.
_POINTS = 7 * 2


def roi_align(maps: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Averages a map over regions: RoIAlign (Mask R-CNN Sec. 3), half-pixel corrected."""
    height, width = tf.shape(maps)[1], tf.shape(maps)[2]
    x0, y0, x1, y1 = tf.unstack(tf.cast(boxes, maps.dtype), axis=-1)
    rows = _weights(y0, y1, height)
    columns = _weights(x0, x1, width)
    return tf.einsum("bnh,bnw,bhwf->bnf", rows, columns, maps)


def _weights(start: tf.Tensor, end: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Mean weight `[b, N, pixels]` of every pixel of a side over the points of a region."""
    steps = (tf.range(_POINTS, dtype=start.dtype) + 0.5) / _POINTS
    size = tf.cast(pixels, start.dtype)
    # Pixel i has its centre at i + 1/2; a point beyond the outermost centres reads the nearest.
    points = (start[..., None] + (end - start)[..., None] * steps) * size - 0.5
    points = tf.clip_by_value(points, 0, size - 1)
    distance = tf.abs(points[..., None] - tf.range(size, dtype=start.dtype))
    return tf.reduce_mean(tf.nn.relu(1 - distance), axis=-2)
