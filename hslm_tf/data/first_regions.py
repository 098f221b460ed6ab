"""A split with fewer regions an image."""

from dataclasses import replace
from typing import Any

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset


class FirstRegions:
    """The first regions of rows `[rows, N, width]`.

    Args:
        rows: array-like.
        most: how many regions are kept.
    """

    def __init__(self, rows: Any, most: int) -> None:
        self._rows = rows
        self.dtype = rows.dtype
        self.shape = (rows.shape[0], most, rows.shape[2])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows, `[b, most, width]`."""
        return self._rows[rows][:, : self.shape[1]]


def first_regions(dataset: RetrievalDataset, most: int | None) -> RetrievalDataset:
    """Keeps the first regions of every image.

    Args:
        dataset: the split.
        most: how many are kept, at least 1; None keeps all.

    Returns:
        The split, read as before.
    """
    if most is None or most >= dataset.max_regions:
        return dataset
    num_regions = dataset.num_regions
    if num_regions is not None:
        num_regions = np.minimum(num_regions, np.int32(most))
    return replace(
        dataset,
        region_features=FirstRegions(dataset.region_features, most),
        boxes=None if dataset.boxes is None else FirstRegions(dataset.boxes, most),
        num_regions=None if num_regions is None or (num_regions == most).all() else num_regions,
    )
