"""Looks at all region features of a split, block by block."""

from dataclasses import dataclass

import numpy as np

from hslm_tf.checks.column_statistics import ColumnMoments, ColumnStatistics
from hslm_tf.checks.digests import Digests, digests_of, repeated
from hslm_tf.checks.occurrences import Occurrences
from hslm_tf.checks.real_regions import RealRegions, real_regions, region_place
from hslm_tf.data.dataset import RetrievalDataset


@dataclass(frozen=True)
class FeatureReport:
    """What the real regions of a split hold; padding is left out."""

    dtype: str
    images: int
    region_dim: int
    max_regions: int
    min_regions: int
    regions: int
    columns: ColumnStatistics
    unreadable: Occurrences
    non_finite: Occurrences
    zero_regions: Occurrences
    zero_images: Occurrences
    repeated_regions: Occurrences
    repeated_images: Occurrences


class FeatureScan:
    """Gathers a `FeatureReport` from blocks of images."""

    def __init__(self, dataset: RetrievalDataset) -> None:
        self._dataset = dataset
        self._moments = ColumnMoments(dataset.region_dim)
        self._unreadable, self._non_finite = Occurrences(), Occurrences()
        self._zero_regions, self._zero_images = Occurrences(), Occurrences()
        self._regions = 0
        self._region_items: list[np.ndarray] = []
        self._region_values: list[np.ndarray] = []
        self._image_items: list[np.ndarray] = []
        self._image_values: list[np.ndarray] = []

    def add(self, images: np.ndarray) -> None:
        """Reads more images."""
        dataset = self._dataset
        for found in real_regions(dataset.region_features, dataset, images, self._unreadable):
            # As in training, a float64 that float32 cannot hold counts as infinity.
            with np.errstate(over="ignore"):
                self._add(found._replace(values=found.values.astype(np.float32, copy=False)))

    def _add(self, found: RealRegions) -> None:
        images, counts, items, rows = found
        self._regions += len(rows)
        self._moments.add(rows)
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            column = np.flatnonzero(~np.isfinite(rows[bad[0]]))[0]
            held = f": {rows[bad[0], column]} in column {column}"
            self._non_finite.add(items[bad], lambda item: self._place(item) + held)
        zero = ~rows.any(axis=1)
        self._zero_regions.add(items[zero], self._place)
        ends = np.cumsum(counts)
        zero_images = np.logical_and.reduceat(zero, ends - counts)
        self._zero_images.add(images[zero_images], self._dataset.place_of)
        hashes = digests_of(rows)
        self._region_items.append(items[~zero])
        self._region_values.append(hashes[~zero])
        of_images = digests_of(np.split(hashes, ends[:-1]))
        self._image_items.append(images[~zero_images])
        self._image_values.append(of_images[~zero_images])

    def _place(self, item: int) -> str:
        return region_place(self._dataset, item)

    def image_digests(self) -> Digests:
        """Hashes of the images that were read and are not all zero."""
        return _joined(self._image_items, self._image_values)

    def report(self) -> FeatureReport:
        """What was found so far."""
        dataset = self._dataset
        regions = repeated(_joined(self._region_items, self._region_values))
        images = repeated(self.image_digests())
        repeated_regions, repeated_images = Occurrences(), Occurrences()
        repeated_regions.add(
            regions.items,
            lambda item: f"{self._place(item)}, as {self._place(int(regions.others[0]))}",
        )
        repeated_images.add(
            images.items,
            lambda image: f"{dataset.place_of(image)}, as {dataset.place_of(images.others[0])}",
        )
        return FeatureReport(
            dtype=str(dataset.region_features.dtype),
            images=dataset.num_images,
            region_dim=dataset.region_dim,
            max_regions=dataset.max_regions,
            min_regions=dataset.max_regions
            if dataset.num_regions is None
            else int(dataset.num_regions.min()),
            regions=self._regions,
            columns=self._moments.statistics(),
            unreadable=self._unreadable,
            non_finite=self._non_finite,
            zero_regions=self._zero_regions,
            zero_images=self._zero_images,
            repeated_regions=repeated_regions,
            repeated_images=repeated_images,
        )


def _joined(items: list[np.ndarray], values: list[np.ndarray]) -> Digests:
    return Digests(
        np.concatenate([np.zeros(0, np.int64), *items]),
        np.concatenate([np.zeros(0, np.uint64), *values]),
    )
