"""One image of a file of region features, and many of them as an array."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hslm_tf.data.errors import DataError

Part = Literal["regions", "boxes"]


class Image(NamedTuple):
    """What a reader says of an image; its numbers are read on demand.

    Attributes:
        id: its id; empty where the file has none.
        place: the file and the place in it, for messages.
        num_regions: number of regions, at least 1.
        width: numbers per region.
        dtype: type of the features.
        has_boxes: whether there are boxes.
        read: reads `regions`, `[num_regions, width]`, or `boxes`, `[num_regions, 4]`.
    """

    id: str
    place: str
    num_regions: int
    width: int
    dtype: np.dtype
    has_boxes: bool
    read: Callable[[Part], np.ndarray]


class ImageRows:
    """Region features or boxes of images, `[images, N, width]`, read on demand.

    Args:
        images: the images, in order.
        part: which of both.
        most: regions kept of an image, the first ones; None keeps all.

    Raises:
        DataError: if images differ in their width, or only some of them have boxes.
    """

    def __init__(self, images: Sequence[Image], part: Part, most: int | None = None) -> None:
        first = images[0]
        for image in images:
            if (image.width, image.has_boxes) != (first.width, first.has_boxes):
                raise DataError(
                    f"{image.place} has {_described(image)}, but {first.place} {_described(first)}"
                )
        self._images, self._part = images, part
        longest = max(image.num_regions for image in images)
        width = 4 if part == "boxes" else first.width
        self.shape = (len(images), longest if most is None else min(longest, most), width)
        types = {image.dtype for image in images}
        self.dtype = np.dtype(np.float32) if part == "boxes" else np.result_type(*types)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows.

        Args:
            rows: int `[b]`, in any order, repeats allowed.

        Returns:
            `[b, N, width]` of `dtype`, zero beyond the regions of an image.

        Raises:
            DataError: if an image cannot be read.
        """
        values = np.zeros((len(rows), *self.shape[1:]), self.dtype)
        for value, row in zip(values, rows, strict=True):
            read = self._images[row].read(self._part)[: self.shape[1]]
            value[: len(read)] = read
        return values

    def place(self, row: int) -> str:
        """Names a row in an error message."""
        return self._images[row].place


def region_parts(images: Sequence[Image], most: int | None) -> dict[str, Any]:
    """The parts of a `RetrievalDataset` that come with region features.

    Args:
        images: the images, in order.
        most: regions kept of an image, the first ones; None keeps all.

    Returns:
        `region_features`, `boxes` and `num_regions`.

    Raises:
        DataError: if images differ in their width, or only some of them have boxes.
        ValueError: if `most` is below 1.
    """
    if most is not None and most < 1:
        raise ValueError(f"max_regions must be at least 1. Received: max_regions={most}")
    regions = ImageRows(images, "regions", most)
    counts = np.array([image.num_regions for image in images], np.int32)
    counts = np.minimum(counts, np.int32(regions.shape[1]))
    return {
        "region_features": regions,
        "boxes": ImageRows(images, "boxes", most) if images[0].has_boxes else None,
        "num_regions": None if (counts == regions.shape[1]).all() else counts,
    }


def _described(image: Image) -> str:
    return f"{image.width} numbers a region {'with' if image.has_boxes else 'without'} boxes"
