"""Photographs of a folder, whose region features are extracted on the way, shard by shard."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hslm_tf.beam.elements import ImageFeatures, Rejected, Shard, ShardItems
from hslm_tf.beam.files import file_sizes, read_file, write_file
from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.errors import DataError
from hslm_tf.images.extractor import PHOTOGRAPHS_AT_ONCE, RegionExtractor, extract_good
from hslm_tf.images.listing import SUFFIXES
from hslm_tf.images.photographs import ImageError, decode_photograph


class PhotographList:
    """The names of the photographs in a folder, one a line of a file."""

    # Written once, so that a restart finds the same shards. A worker reads its shard's lines only.
    def __init__(self, path: str, folder: str, line_ends: np.ndarray) -> None:
        self._path, self.folder, self._line_ends = path, folder, line_ends

    @classmethod
    def of_folder(cls, folder: str, path: str) -> "PhotographList":
        """Lists a folder and the folders below it, or reads the list that is there already."""
        folder = folder.rstrip("/")
        if not FileSystems.exists(path):
            names = sorted(name[len(folder) + 1 :] for name in file_sizes(folder))
            names = [name for name in names if name.lower().endswith(SUFFIXES)]
            if broken := [name for name in names if len(name.splitlines()) != 1]:
                raise DataError(f"{folder}: the name {broken[0]!r} is not one line")
            if not names:
                raise DataError(f"{folder} holds no photograph, such as *{' *'.join(SUFFIXES)}")
            write_file(path, "".join(f"{name}\n" for name in names).encode())
        content = np.frombuffer(read_file(path), np.uint8)
        return cls(path, folder, np.flatnonzero(content == ord("\n")) + 1)

    def __len__(self) -> int:
        return len(self._line_ends)

    def names(self, shard: Shard) -> list[str]:
        """Reads the names of a shard."""
        start = int(self._line_ends[shard.first - 1]) if shard.first else 0
        with FileSystems.open(self._path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.seek(start)
            return file.read(int(self._line_ends[shard.last - 1]) - start).decode().splitlines()

    def address(self, name: str) -> str:
        """Path or address of a photograph."""
        return FileSystems.join(self.folder, *name.split("/"))


class PhotographSource:
    """Photographs that every worker can read; a photograph's name is its id."""

    def __init__(
        self, photographs: PhotographList, make_extractor: Callable[[], RegionExtractor]
    ) -> None:
        self._photographs, self._make_extractor = photographs, make_extractor

    def read(self, shard: Shard) -> tuple[ShardItems, ImageFeatures]:
        """Reads, decodes and extracts a shard."""
        names, parts, kept = self._photographs.names(shard), [], []
        reasons: dict[int, str] = {}
        for block in row_blocks(len(names), PHOTOGRAPHS_AT_ONCE):
            images = {}
            for place in block:
                try:
                    content = read_file(self._photographs.address(names[place]))
                    images[place] = decode_photograph(content)
                # After other errors of reading, Beam tries the shard again.
                except (ImageError, DataError, FileNotFoundError) as error:
                    reasons[place] = str(error)
            places = list(images)
            features, bad = extract_good(
                self._extractor, list(images.values()), [names[place] for place in places]
            )
            parts.append(features)
            reasons |= {places[row]: reason for row, reason in bad.items()}
            kept += [place for place in places if place not in reasons]
        features, boxes, counts = (np.concatenate(values) for values in zip(*parts, strict=True))
        rejected = [
            Rejected(int(shard.first + place), names[place], reason)
            for place, reason in reasons.items()
        ]
        rows = shard.first + np.array(kept, np.int64)
        ids = [names[place] for place in kept]
        items = ShardItems(shard, rows, ids, boxes.astype(np.float32), rejected)
        return items, ImageFeatures(features.astype(np.float32), counts.astype(np.int32))

    def __getstate__(self) -> dict:
        # Every worker makes its own extractor.
        return {name: value for name, value in vars(self).items() if name != "_extractor"}

    @cached_property
    def _extractor(self) -> RegionExtractor:
        return self._make_extractor()
