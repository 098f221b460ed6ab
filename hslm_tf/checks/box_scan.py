"""Looks at all boxes of a split, block by block."""

from dataclasses import dataclass

import numpy as np

from hslm_tf.checks.occurrences import Occurrences
from hslm_tf.checks.real_regions import real_regions, region_place
from hslm_tf.data.dataset import RetrievalDataset

# Rounding puts the right edge of a box this far beyond that of the image.
_TOLERANCE = 1e-3
# Above it a corner is in pixels, as in `hslm_tf.report.regions`.
_LARGEST_PART = 1.5


@dataclass(frozen=True)
class BoxReport:
    """What the boxes of the real regions of a split hold."""

    in_pixels: bool
    smallest: float | None
    largest: float | None
    unreadable: Occurrences
    non_finite: Occurrences
    empty: Occurrences
    outside: Occurrences


class BoxScan:
    """Gathers a `BoxReport` from blocks of images."""

    def __init__(self, dataset: RetrievalDataset) -> None:
        self._dataset = dataset
        self._smallest, self._largest = np.inf, -np.inf
        self._finite, self._large = 0, 0
        self._unreadable, self._non_finite, self._empty = (
            Occurrences(),
            Occurrences(),
            Occurrences(),
        )
        # Only the whole split tells whether corners are pixels.
        self._before, self._beyond = Occurrences(), Occurrences()

    def add(self, images: np.ndarray) -> None:
        """Reads more images."""
        dataset = self._dataset
        for found in real_regions(dataset.boxes, dataset, images, self._unreadable):
            self._add(found.items, found.values)

    def _add(self, items: np.ndarray, boxes: np.ndarray) -> None:
        finite = np.isfinite(boxes).all(axis=1)

        def place(item: int) -> str:
            corners = boxes[np.searchsorted(items, item)].astype(np.float64)
            return f"{region_place(self._dataset, item)}: {corners.round(4).tolist()}"

        self._non_finite.add(items[~finite], place)
        real, corners = items[finite], boxes[finite]
        self._finite += len(real)
        self._large += int(np.count_nonzero((corners > _LARGEST_PART).any(axis=1)))
        self._smallest = min(self._smallest, float(corners.min(initial=np.inf)))
        self._largest = max(self._largest, float(corners.max(initial=-np.inf)))
        self._empty.add(real[(corners[:, 2:] <= corners[:, :2]).any(axis=1)], place)
        before = (corners < -_TOLERANCE).any(axis=1)
        self._before.add(real[before], place)
        self._beyond.add(real[before | (corners > 1 + _TOLERANCE).any(axis=1)], place)

    def report(self) -> BoxReport:
        """What was found so far."""
        in_pixels = 2 * self._large > self._finite
        return BoxReport(
            in_pixels=in_pixels,
            smallest=self._smallest if self._finite else None,
            largest=self._largest if self._finite else None,
            unreadable=self._unreadable,
            non_finite=self._non_finite,
            empty=self._empty,
            outside=self._before if in_pixels else self._beyond,
        )
