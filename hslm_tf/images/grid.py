"""Regions that need no detector."""

import numpy as np

# Windows along a side and their share of it: the whole, halves, thirds. Neighbours overlap by half.
_WINDOWS = ((1, 1.0), (3, 1 / 2), (5, 1 / 3))


def grid_boxes() -> np.ndarray:
    """The whole photograph, 3 x 3 windows of half its sides, 5 x 5 windows of a third.

    Returns:
        float32 `[35, 4]`: x0, y0, x1, y1 in [0, 1], larger windows first, row by row.
    """
    boxes = []
    for count, side in _WINDOWS:
        starts = np.linspace(0, 1 - side, count)
        boxes += [(x, y, x + side, y + side) for y in starts for x in starts]
    return np.array(boxes, np.float32)
