"""RoIAlign in float64 NumPy, point by point."""

import numpy as np


def roi_align(feature_map: np.ndarray, box: np.ndarray, bins: int = 7, samples: int = 2):
    """The mean over `bins` x `bins` bins of one region `[F]` of a map `[h, w, F]`."""
    height, width, _ = feature_map.shape
    x0, y0, x1, y1 = np.asarray(box, np.float64) * (width, height, width, height) - 0.5
    bin_width, bin_height = (x1 - x0) / bins, (y1 - y0) / bins
    pooled = []
    for row in range(bins):
        for column in range(bins):
            values = []
            for i in range(samples):
                for j in range(samples):
                    y = y0 + (row + (i + 0.5) / samples) * bin_height
                    x = x0 + (column + (j + 0.5) / samples) * bin_width
                    values.append(bilinear(feature_map, y, x))
            pooled.append(np.mean(values, axis=0))
    return np.mean(pooled, axis=0)


def bilinear(feature_map: np.ndarray, y: float, x: float) -> np.ndarray:
    """The map between its pixels; beyond them, the nearest."""
    height, width, _ = feature_map.shape
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    return (
        feature_map[top, left] * (1 - down) * (1 - across)
        + feature_map[top, right] * (1 - down) * across
        + feature_map[bottom, left] * down * (1 - across)
        + feature_map[bottom, right] * down * across
    )
