"""Images as region features, their captions, and which caption belongs to which image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hslm_tf.data.errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class RetrievalDataset:
    """One split of an image-caption collection; the arrays stay on disk.

    Args:
        name: the split: `train`, `dev` or `test`.
        source: where the region features lie, for error messages.
        region_features: `[rows, N, F]` float16 or float32; rows of a file or anything else with
            `shape`, `dtype` and indexing by an integer array.
        captions: one string per caption.
        caption_to_image: int32 `[num_captions]`, the image of each caption.
        image_ids: one unique string per image, or None.
        boxes: `[rows, N, 4]` x0, y0, x1, y1 of every region, or None.
        num_regions: int32 `[num_images]`, how many of the N regions are real, or None for all.
        image_rows: int64 `[num_images]`, the row of `region_features` (and `boxes`) of each image;
            None where row i is image i.
        extraction: how the features were made of photographs, as `python -m hslm_tf.extract` wrote
            it, or None where that is not known.
    """

    name: str
    source: str
    region_features: Any
    captions: list[str]
    caption_to_image: np.ndarray
    image_ids: list[str] | None = None
    boxes: Any = None
    num_regions: np.ndarray | None = None
    image_rows: np.ndarray | None = None
    extraction: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.image_rows is None:
            object.__setattr__(self, "image_rows", np.arange(self.region_features.shape[0]))

    def __repr__(self) -> str:
        return (
            f"RetrievalDataset({self.name!r}, {self.num_images} images of up to {self.max_regions} "
            f"regions, {self.region_dim} wide, {self.num_captions} captions, {self.source!r})"
        )

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self.image_rows)

    @property
    def num_captions(self) -> int:
        """Number of captions."""
        return len(self.captions)

    @property
    def max_regions(self) -> int:
        """Regions per image, padding included."""
        return self.region_features.shape[1]

    @property
    def region_dim(self) -> int:
        """Width of a region feature."""
        return self.region_features.shape[2]

    def region_mask(self, images: np.ndarray) -> np.ndarray:
        """True where an image has a real region.

        Args:
            images: int `[b]`, image indices.

        Returns:
            bool `[b, N]`.
        """
        if self.num_regions is None:
            return np.ones((len(images), self.max_regions), bool)
        return np.arange(self.max_regions) < self.num_regions[images, None]

    def read_images(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads region features and checks that they are finite.

        Args:
            images: int `[b]`, image indices, in any order, repeats allowed.

        Returns:
            float32 `[b, N, F]`, zero beyond the real regions, and bool `[b, N]`, True for real.

        Raises:
            DataError: if a real region holds NaN or infinity.
        """
        mask = self.region_mask(images)
        return self._read(self.region_features, images, mask, "features"), mask

    def read_boxes(self, images: np.ndarray) -> np.ndarray | None:
        """Reads region boxes and checks that they are finite.

        Args:
            images: int `[b]`, image indices.

        Returns:
            float32 `[b, N, 4]`, zero beyond the real regions; None without boxes.

        Raises:
            DataError: if a box of a real region holds NaN or infinity.
        """
        if self.boxes is None:
            return None
        return self._read(self.boxes, images, self.region_mask(images), "boxes")

    def place_of(self, image: int) -> str:
        """Names the row of an image's region features in a message.

        Args:
            image: the image.

        Returns:
            The file, and the row in it.
        """
        return self._place(self.region_features, self.image_rows[image])

    def subset(self, first: int, last: int) -> "RetrievalDataset":
        """The images `first` to `last - 1` with their captions.

        Args:
            first: first image.
            last: one past the last image.

        Returns:
            The smaller dataset, over the same files.

        Raises:
            ValueError: if the range is empty or leaves the dataset.
        """
        if not 0 <= first < last <= self.num_images:
            raise ValueError(
                f"subset needs 0 <= first < last <= {self.num_images}. "
                f"Received: first={first}, last={last}"
            )
        images = slice(first, last)
        kept = (self.caption_to_image >= first) & (self.caption_to_image < last)
        return replace(
            self,
            captions=[self.captions[caption] for caption in np.flatnonzero(kept)],
            caption_to_image=self.caption_to_image[kept] - np.int32(first),
            image_rows=self.image_rows[images],
            image_ids=self.image_ids and self.image_ids[images],
            num_regions=None if self.num_regions is None else self.num_regions[images],
        )

    def _read(self, array: Any, images: np.ndarray, mask: np.ndarray, what: str) -> np.ndarray:
        rows = self.image_rows[images]
        # A float64 that float32 cannot hold becomes infinity, an error below.
        with np.errstate(over="ignore"):
            values = np.asarray(array[rows], np.float32)
        if self.num_regions is not None:
            values[~mask] = 0
        finite = np.isfinite(values).all(axis=(1, 2))
        if not finite.all():
            bad = np.flatnonzero(~finite)[0]
            region, column = np.argwhere(~np.isfinite(values[bad]))[0]
            raise DataError(
                f"{self._place(array, rows[bad])}: {what} of region {region} hold "
                f"{values[bad, region, column]} in column {column}, expected finite numbers"
            )
        return values

    def _place(self, array: Any, row: int) -> str:
        place = getattr(array, "place", None)
        return f"{self.source}, row {row}" if place is None else place(row)


def ids_or_numbers(dataset: RetrievalDataset) -> list[str]:
    """Ids of a dataset's images, their numbers where it has none."""
    return dataset.image_ids or [str(row) for row in range(dataset.num_images)]
