"""Reads all region features and boxes of a split, block by block, and counts what is odd."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hslm_tf.checks.column_statistics import ColumnStatistics
from hslm_tf.checks.finding import Finding, Occurrences, Severity, counted, counted_findings
from hslm_tf.checks.fingerprints import Fingerprints, fingerprints_of, repeated
from hslm_tf.data.blocks import Advance, image_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError

# Rounding puts the right edge of a box this far beyond that of the image.
_TOLERANCE = 1e-3
# Above it a corner is in pixels, as in `hslm_tf.report.pictures`.
_LARGEST_PART = 1.5
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


@dataclass
class FeatureReport:
    """The real regions of a split, without padding; zeros do not count as repeated."""

    dtype: str
    images: int
    region_dim: int
    max_regions: int
    min_regions: int
    columns: ColumnStatistics
    regions: int = 0
    unreadable: Occurrences = counted("unreadable_images", "images that cannot be read")
    non_finite: Occurrences = counted(
        "non_finite_features", "regions with NaN or infinity", "finite numbers"
    )
    zero_images: Occurrences = counted(
        "zero_images", "images of zeros alone", "features of what is seen"
    )
    zero_regions: Occurrences = counted(
        "zero_regions", "regions of zeros", "features; num_regions says which regions are padding"
    )
    repeated_images: Occurrences = counted(
        "repeated_images", "images with the features of an earlier one", "every image once"
    )
    repeated_regions: Occurrences = counted(
        "repeated_regions", "regions with the features of an earlier one", "different ones"
    )

    def findings(self, split: str, stops: Severity) -> Iterator[Finding]:
        """Oddities; `stops` is the severity of faults that make the split useless."""
        yield from counted_findings(split, self, stops)
        columns = self.columns
        constant, column = columns.constant, columns.by_magnitude[0]
        if len(constant):
            message = (
                f"{len(constant):,} of {self.region_dim:,} columns hold one value, such as column "
                f"{constant[0]}: {columns.smallest[constant[0]]:g}; expected numbers that tell "
                "regions apart"
            )
            yield Finding("warning", "constant_columns", split, message)
        largest = max(columns.smallest[column], columns.largest[column], key=abs)
        if abs(largest) > _LARGEST_FLOAT16:
            message = (
                f"column {column} reaches {largest:g}, more than the {_LARGEST_FLOAT16:g} that "
                "float16 can hold: `convert --dtype float16` would refuse it"
            )
            yield Finding("warning", "too_large_for_float16", split, message)


@dataclass
class BoxReport:
    """The boxes of the real regions of a split, in pixels or as parts of the image."""

    in_pixels: bool = False
    smallest: float | None = None
    largest: float | None = None
    unreadable: Occurrences = counted("unreadable_boxes", "images whose boxes cannot be read")
    non_finite: Occurrences = counted(
        "non_finite_boxes", "boxes with NaN or infinity", "finite numbers"
    )
    empty: Occurrences = counted("empty_boxes", "empty boxes", "x0 < x1 and y0 < y1")
    # In pixels, whose number is not known, to the left or above alone.
    outside: Occurrences = counted(
        "boxes_outside", "boxes that leave the image", "parts of the image, 0 to 1"
    )


def scan_features(
    dataset: RetrievalDataset, advance: Advance
) -> tuple[FeatureReport, Fingerprints]:
    """Reports on the features; the fingerprints are of images that are readable and not zero."""
    counts = dataset.region_mask(np.arange(dataset.num_images)).sum(axis=1)
    report = FeatureReport(
        dtype=str(dataset.region_features.dtype),
        images=dataset.num_images,
        region_dim=dataset.region_dim,
        max_regions=dataset.max_regions,
        min_regions=int(counts.min()),
        columns=ColumnStatistics(dataset.region_dim),
    )
    # Two numbers for each region, and for each image, are all that stays in memory.
    region_prints, image_prints = _Collected(), _Collected()

    def place(item: int) -> str:
        return _region_place(dataset, item)

    def add(block: _Block) -> None:
        # As in training, a float64 that float32 cannot hold counts as infinity.
        with np.errstate(over="ignore"):
            rows = block.values.astype(np.float32, copy=False)
        report.regions += len(rows)
        report.columns.add(rows)
        finite = np.isfinite(rows)
        bad = np.flatnonzero(~finite.all(axis=1))
        if bad.size:
            column = np.argmin(finite[bad[0]])
            value = f": {rows[bad[0], column]} in column {column}"
            report.non_finite.add(block.items[bad], lambda item: place(item) + value)
        zero = ~rows.any(axis=1)
        report.zero_regions.add(block.items[zero], place)
        ends = np.cumsum(block.counts)
        zero_images = np.logical_and.reduceat(zero, ends - block.counts)
        report.zero_images.add(block.images[zero_images], dataset.place_of)
        prints = fingerprints_of(rows)
        region_prints.add(block.items, prints, ~zero)
        of_images = fingerprints_of(np.split(prints, ends[:-1]))
        image_prints.add(block.images, of_images, ~zero_images)

    for images in image_blocks(dataset):
        _read(dataset, dataset.region_features, images, report.unreadable, add)
        advance(len(images))
    pairs = repeated(region_prints.together())
    report.repeated_regions.add(
        pairs.items, lambda item: f"{place(item)}, as {place(int(pairs.others[0]))}"
    )
    fingerprints = image_prints.together()
    twins = repeated(fingerprints)
    if 2 * len(twins.items) >= dataset.num_images:
        report.repeated_images.expected = (
            "every image once: each row is taken for an image, and `python -m hslm_tf.convert "
            "SOURCE TARGET --layout per_caption` makes one of rows that are repeated for captions"
        )
    report.repeated_images.add(
        twins.items,
        lambda image: f"{dataset.place_of(image)}, as {dataset.place_of(twins.others[0])}",
    )
    return report, fingerprints


def scan_boxes(dataset: RetrievalDataset) -> BoxReport:
    """Reports on the boxes."""
    report = BoxReport()
    negatives = Occurrences("boxes_outside", "boxes that leave the image", "pixels from 0")
    smallest, largest, finite_boxes, large_boxes = np.inf, -np.inf, 0, 0

    def add(block: _Block) -> None:
        nonlocal smallest, largest, finite_boxes, large_boxes

        def place(item: int) -> str:
            corners = block.values[np.searchsorted(block.items, item)].astype(np.float64)
            return f"{_region_place(dataset, item)}: {corners.round(4).tolist()}"

        finite = np.isfinite(block.values).all(axis=1)
        report.non_finite.add(block.items[~finite], place)
        items, corners = block.items[finite], block.values[finite]
        finite_boxes += len(items)
        large_boxes += np.count_nonzero((corners > _LARGEST_PART).any(axis=1))
        smallest = min(smallest, float(corners.min(initial=np.inf)))
        largest = max(largest, float(corners.max(initial=-np.inf)))
        report.empty.add(items[(corners[:, 2:] <= corners[:, :2]).any(axis=1)], place)
        negative = (corners < -_TOLERANCE).any(axis=1)
        negatives.add(items[negative], place)
        report.outside.add(items[negative | (corners > 1 + _TOLERANCE).any(axis=1)], place)

    for images in image_blocks(dataset):
        _read(dataset, dataset.boxes, images, report.unreadable, add)
    # Only the whole split tells whether corners are pixels: most boxes are large then.
    report.in_pixels = 2 * large_boxes > finite_boxes
    if report.in_pixels:
        report.outside = negatives
    if finite_boxes:
        report.smallest, report.largest = smallest, largest
    return report


class _Collected:
    """Fingerprints that come in pieces."""

    def __init__(self) -> None:
        self._items, self._values = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]

    def add(self, items: np.ndarray, values: np.ndarray, kept: np.ndarray) -> None:
        """Adds those that are kept."""
        self._items.append(items[kept])
        self._values.append(values[kept])

    def together(self) -> Fingerprints:
        """All of them."""
        return Fingerprints(np.concatenate(self._items), np.concatenate(self._values))


class _Block(NamedTuple):
    """The real regions of some images, one after the other."""

    images: np.ndarray
    # How many real regions each image has.
    counts: np.ndarray
    # Numbers of the regions in their split, padding included.
    items: np.ndarray
    values: np.ndarray


def _read(
    dataset: RetrievalDataset,
    array: Any,
    images: np.ndarray,
    unreadable: Occurrences,
    add: Callable[[_Block], None],
) -> None:
    """Reads images; where that fails it reads halves of them, until single images are left."""
    try:
        values = np.asarray(array[dataset.image_rows[images]])
    except (DataError, OSError) as error:
        if len(images) == 1:
            # The error names the file, but not always what was read of it.
            unreadable.add(images, lambda image, error=error: f"image {image}: {error}")
            return
        for half in np.array_split(images, 2):
            _read(dataset, array, half, unreadable, add)
        return
    mask = dataset.region_mask(images)
    row, region = np.nonzero(mask)
    items = images[row] * dataset.max_regions + region
    add(_Block(images, mask.sum(axis=1), items, values[mask]))


def _region_place(dataset: RetrievalDataset, item: int) -> str:
    image, region = divmod(item, dataset.max_regions)
    return f"{dataset.place_of(image)}, region {region}"
