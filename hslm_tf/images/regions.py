"""The grid of regions, and the mean of a convolutional map over a region."""

import numpy as np
import tensorflow as tf

# Windows side by side. They cover every part of a photograph equally often: windows that overlap
# would favour its middle, and their mean retrieves less (docs/photographs.md).
_SIDES = (1, 2, 3, 4)
# Detectors divide a region into 7 x 7 bins and read 2 x 2 points of each.
_POINTS = 7 * 2


def grid_boxes() -> np.ndarray:
    """The whole photograph, 2 x 2 halves, 3 x 3 thirds and 4 x 4 quarters, float32 `[30, 4]`."""
    boxes = [
        (column / count, row / count, (column + 1) / count, (row + 1) / count)
        for count in _SIDES
        for row in range(count)
        for column in range(count)
    ]
    return np.array(boxes, np.float32)


def roi_align(maps: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Averages a map over regions: RoIAlign (Mask R-CNN Sec. 3), half-pixel corrected."""
    # The points of a region form a grid, and a bilinear weight is a product of one in y and one in
    # x: the mean over all points is one product of matrices along each side.
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
