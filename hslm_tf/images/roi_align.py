"""Pools regions from a convolutional map."""

import tensorflow as tf

# Detectors divide a region into 7 x 7 bins and read 2 x 2 points of each.
_POINTS = 7 * 2


def roi_align(maps: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Mean of a map over regions, by RoIAlign (Mask R-CNN Sec. 3) with its half-pixel correction.

    A region is divided into 7 x 7 bins; the map is read at 2 x 2 points of each by bilinear
    interpolation, and all points are averaged. These points form a grid and bilinear weights are
    products of a weight in y and one in x: the mean is one product of matrices along each side.

    Args:
        maps: `[b, h, w, F]`; its pixels cover the photograph, whose sides are 1.
        boxes: `[b, N, 4]`: x0, y0, x1, y1 in [0, 1].

    Returns:
        `[b, N, F]`, in the type of the map.
    """
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
