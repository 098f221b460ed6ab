"""Rows of a dataset in blocks of bounded size."""

from collections.abc import Callable, Iterator

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError

_BLOCK_BYTES = 1 << 24

# Called with the number of images after each block.
Advance = Callable[[int], object]


def row_blocks(count: int, size: int) -> Iterator[np.ndarray]:
    """Splits the numbers from 0 to `count - 1` into blocks."""
    for first in range(0, count, size):
        yield np.arange(first, min(first + size, count))


def image_blocks(dataset: RetrievalDataset) -> Iterator[np.ndarray]:
    """Splits the images into blocks whose float32 features take about 16 MiB."""
    size = max(1, _BLOCK_BYTES // (4 * dataset.max_regions * dataset.region_dim))
    return row_blocks(dataset.num_images, size)


def region_blocks(
    dataset: RetrievalDataset, dtype: np.dtype, advance: Advance
) -> Iterator[np.ndarray]:
    """Reads the region features block by block in another type."""
    for images in image_blocks(dataset):
        regions, _ = dataset.read_images(images)
        largest = np.abs(regions).max(axis=(1, 2))
        bad = np.flatnonzero(largest > np.finfo(dtype).max)
        if bad.size:
            raise DataError(
                f"{dataset.place_of(images[bad[0]])}: the largest feature {largest[bad[0]]} does "
                f"not fit {dtype}"
            )
        yield regions.astype(dtype)
        advance(len(images))


def box_blocks(dataset: RetrievalDataset) -> Iterator[np.ndarray]:
    """Reads the boxes block by block."""
    return map(dataset.read_boxes, image_blocks(dataset))
