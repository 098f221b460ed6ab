"""Photographs whose region features are extracted on the way, shard by shard."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from hslm_tf.beam.elements import ImageFeatures, Rejected, Shard, ShardItems
from hslm_tf.beam.files import read_file
from hslm_tf.beam.photograph_list import PhotographList
from hslm_tf.data.blocks import row_blocks

# Decoded photographs are large: a whole shard of them would fill the memory.
_PHOTOGRAPHS_AT_ONCE = 16


class Extractor(Protocol):
    """Makes region features of decoded photographs."""

    def extract(self, images: Sequence[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Makes region features.

        Args:
            images: n photographs, as they were decoded; there may be none.

        Returns:
            Features `[n, N, F]`, boxes `[n, N, 4]`, and how many of the N regions are real, `[n]`.

        Raises:
            ValueError: if one of the photographs has no features.
        """


class PhotographSource:
    """Photographs that every worker can read; a photograph's name is its id.

    Args:
        photographs: which ones.
        decode: makes an image of the content of a file, or raises a `ValueError` that says why not.
        make_extractor: called once by every worker; it and `decode` are sent to the workers.
    """

    def __init__(
        self,
        photographs: PhotographList,
        decode: Callable[[bytes], Any],
        make_extractor: Callable[[], Extractor],
    ) -> None:
        self._photographs, self._decode = photographs, decode
        self._make_extractor = make_extractor

    def read(self, shard: Shard) -> tuple[ShardItems, ImageFeatures]:
        """Reads, decodes and extracts a shard.

        Args:
            shard: which photographs.

        Returns:
            The good ones, and their features; the others are in `rejected`.

        Raises:
            OSError: if a file that is there cannot be read: a runner tries again.
        """
        names, parts, rows = self._photographs.names(shard), [], []
        rejected: list[Rejected] = []
        for block in row_blocks(len(names), _PHOTOGRAPHS_AT_ONCE):
            images = {}
            for place in block:
                try:
                    content = read_file(self._photographs.address(names[place]))
                    images[place] = self._decode(content)
                except (ValueError, FileNotFoundError) as error:
                    rejected.append(Rejected(int(shard.first + place), names[place], str(error)))
            parts.append(self._extracted(images, names, shard, rejected))
            rows += images
        features, boxes, counts = (np.concatenate(values) for values in zip(*parts, strict=True))
        ids = [names[place] for place in rows]
        rows = shard.first + np.array(rows, np.int64)
        items = ShardItems(shard, rows, ids, boxes.astype(np.float32), rejected)
        return items, ImageFeatures(features.astype(np.float32), counts.astype(np.int32))

    def __getstate__(self) -> dict:
        # A worker makes an extractor of its own.
        return {name: value for name, value in vars(self).items() if name != "_extractor"}

    @cached_property
    def _extractor(self) -> Extractor:
        return self._make_extractor()

    def _extracted(
        self, images: dict[int, Any], names: list[str], shard: Shard, rejected: list[Rejected]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features; photographs that have none move from `images` to `rejected`."""
        try:
            return self._extractor.extract(list(images.values()))
        except ValueError:
            for place in list(images):
                try:
                    self._extractor.extract([images[place]])
                except ValueError as error:
                    rejected.append(Rejected(int(shard.first + place), names[place], str(error)))
                    del images[place]
            return self._extractor.extract(list(images.values()))
