"""Regions that need no detector."""

import numpy as np

# How many windows lie side by side. They cover every part of a photograph equally often: windows
# that overlap would favour its middle, and their mean retrieves less (docs/photographs.md).
_SIDES = (1, 2, 3, 4)


def grid_boxes() -> np.ndarray:
    """The whole photograph, 2 x 2 halves, 3 x 3 thirds, 4 x 4 quarters."""
    boxes = [
        (column / count, row / count, (column + 1) / count, (row + 1) / count)
        for count in _SIDES
        for row in range(count)
        for column in range(count)
    ]
    return np.array(boxes, np.float32)
