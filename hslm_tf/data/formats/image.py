"""One image of a file of region features, and many of them as an array."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hslm_tf.data.errors import DataError

Part = Literal["regions", "boxes"]


class Image(NamedTuple):
    """An image in a file; its numbers are read on demand."""

    # Empty where the file has none.
    id: str
    # The file and the place in it, for messages.
    place: str
    num_regions: int
    width: int
    dtype: np.dtype
    has_boxes: bool
    # Gives `[num_regions, width]` or, for the boxes, `[num_regions, 4]`: x1, y1, x2, y2 as parts of
    # the image. Whoever writes them checks that all are finite.
    read: Callable[[Part], np.ndarray]


class ImageRows:
    """Region features or boxes of images, `[images, N, width]`, zero beyond the last region."""

    def __init__(self, images: Sequence[Image], part: Part, max_regions: int | None) -> None:
        first = images[0]
        for image in images:
            if (image.width, image.has_boxes) != (first.width, first.has_boxes):
                raise DataError(
                    f"{image.place} has {_described(image)}, but {first.place} {_described(first)}"
                )
        self._images, self._part = images, part
        regions = max(image.num_regions for image in images)
        if max_regions is not None:
            regions = min(regions, max_regions)
        self.shape = (len(images), regions, 4 if part == "boxes" else first.width)
        types = {np.dtype(np.float32)} if part == "boxes" else {image.dtype for image in images}
        self.dtype = np.result_type(*types)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows."""
        values = np.zeros((len(rows), *self.shape[1:]), self.dtype)
        for value, row in zip(values, rows, strict=True):
            read = self._images[row].read(self._part)[: self.shape[1]]
            value[: len(read)] = read
        return values

    def place(self, row: int) -> str:
        """Names a row in an error message."""
        return self._images[row].place


def region_parts(images: Sequence[Image], max_regions: int | None) -> dict[str, Any]:
    """The parts of a `RetrievalDataset` that come with region features."""
    if max_regions is not None and max_regions < 1:
        raise ValueError(f"max_regions must be at least 1. Received: max_regions={max_regions}")
    regions = ImageRows(images, "regions", max_regions)
    counts = np.array([image.num_regions for image in images], np.int32)
    counts = np.minimum(counts, np.int32(regions.shape[1]))
    return {
        "region_features": regions,
        "boxes": ImageRows(images, "boxes", max_regions) if images[0].has_boxes else None,
        "num_regions": None if (counts == regions.shape[1]).all() else counts,
    }


def _described(image: Image) -> str:
    return f"{image.width} numbers a region {'with' if image.has_boxes else 'without'} boxes"
