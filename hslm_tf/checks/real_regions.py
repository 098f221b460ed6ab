"""Reads the real regions of images, past images that cannot be read."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from hslm_tf.checks.occurrences import Occurrences
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError


class RealRegions(NamedTuple):
    """The real regions of some images, one after the other."""

    images: np.ndarray
    counts: np.ndarray
    items: np.ndarray
    values: np.ndarray


def real_regions(
    array: Any, dataset: RetrievalDataset, images: np.ndarray, unreadable: Occurrences
) -> Iterator[RealRegions]:
    """Reads images; where that fails it reads halves of them, until single images are left."""
    try:
        values = np.asarray(array[dataset.image_rows[images]])
    except (DataError, OSError) as error:
        if len(images) == 1:
            # The error names the file, but not always what was read of it.
            unreadable.add(images, lambda image, error=error: f"image {image}: {error}")
            return
        for half in np.array_split(images, 2):
            yield from real_regions(array, dataset, half, unreadable)
        return
    mask = dataset.region_mask(images)
    owner, region = np.nonzero(mask)
    items = images[owner] * dataset.max_regions + region
    yield RealRegions(images, mask.sum(axis=1), items, values[mask])


def region_place(dataset: RetrievalDataset, item: int) -> str:
    """Names a region in a message."""
    image, region = divmod(item, dataset.max_regions)
    return f"{dataset.place_of(image)}, region {region}"
