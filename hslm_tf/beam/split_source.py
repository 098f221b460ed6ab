"""Images of a data set, shard by shard."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from hslm_tf.beam.elements import ImageFeatures, Rejected, Shard, ShardItems
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.loading import load_dataset


class SplitSource:
    """A split that every worker can open.

    Args:
        path: folder or HDF5 file, in a file system that all workers share.
        split: name of the split.
    """

    def __init__(self, path: str, split: str) -> None:
        self._path, self._split = path, split

    def read(self, shard: Shard) -> tuple[ShardItems, ImageFeatures]:
        """Reads the images of a shard that can be read; the others are in `rejected`."""
        rows, rejected = np.arange(shard.first, shard.last), []
        try:
            features, mask, boxes = self._read(rows)
        except DataError:
            rejected = list(self._rejected(rows))
            rows = np.setdiff1d(rows, [image.row for image in rejected])
            features, mask, boxes = self._read(rows)
        items = ShardItems(shard, rows, [self._id(row) for row in rows], boxes, rejected)
        return items, ImageFeatures(features, mask.sum(axis=1, dtype=np.int32))

    def __getstate__(self) -> dict:
        # A worker opens the files itself.
        return {name: value for name, value in vars(self).items() if name != "dataset"}

    @cached_property
    def dataset(self) -> RetrievalDataset:
        """The split."""
        return load_dataset(self._path, self._split, captions_optional=True)

    def _id(self, row: int) -> str:
        ids = self.dataset.image_ids
        return str(row) if ids is None else ids[row]

    def _read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        return *self.dataset.read_images(rows), self.dataset.read_boxes(rows)

    def _rejected(self, rows: np.ndarray) -> Iterator[Rejected]:
        for row in rows:
            try:
                self._read(np.array([row]))
            except DataError as error:
                yield Rejected(int(row), self._id(row), str(error))
