"""Photographs whose region features are extracted on the way, shard by shard."""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from hslm_tf.beam.elements import ImageFeatures, Rejected, Shard, ShardItems
from hslm_tf.beam.files import read_file
from hslm_tf.beam.photograph_list import PhotographList
from hslm_tf.data.blocks import row_blocks
from hslm_tf.images.extractor import PHOTOGRAPHS_AT_ONCE, RegionExtractor, extract_good
from hslm_tf.images.photographs import ImageError, decode_photograph


class PhotographSource:
    """Photographs that every worker can read; a photograph's name is its id."""

    def __init__(
        self, photographs: PhotographList, make_extractor: Callable[[], RegionExtractor]
    ) -> None:
        self._photographs, self._make_extractor = photographs, make_extractor

    def read(self, shard: Shard) -> tuple[ShardItems, ImageFeatures]:
        """Reads, decodes and extracts a shard."""
        names, parts, rows = self._photographs.names(shard), [], []
        rejected: list[Rejected] = []
        for block in row_blocks(len(names), PHOTOGRAPHS_AT_ONCE):
            images = {}
            for place in block:
                try:
                    content = read_file(self._photographs.address(names[place]))
                    images[place] = decode_photograph(content)
                except (ImageError, FileNotFoundError) as error:
                    rejected.append(Rejected(int(shard.first + place), names[place], str(error)))
            places = list(images)
            of_block, reasons = extract_good(
                self._extractor, list(images.values()), [names[place] for place in places]
            )
            rejected += [
                Rejected(int(shard.first + places[row]), names[places[row]], reason)
                for row, reason in reasons.items()
            ]
            parts.append(of_block)
            rows += [place for row, place in enumerate(places) if row not in reasons]
        features, boxes, counts = (np.concatenate(values) for values in zip(*parts, strict=True))
        ids = [names[place] for place in rows]
        rows = shard.first + np.array(rows, np.int64)
        items = ShardItems(shard, rows, ids, boxes.astype(np.float32), rejected)
        return items, ImageFeatures(features.astype(np.float32), counts.astype(np.int32))

    def __getstate__(self) -> dict:
        # A worker makes an extractor of its own.
        return {name: value for name, value in vars(self).items() if name != "_extractor"}

    @cached_property
    def _extractor(self) -> RegionExtractor:
        return self._make_extractor()
