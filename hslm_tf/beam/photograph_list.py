"""Which photographs a folder holds, listed once, so that a restart finds the same shards."""

import numpy as np
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hslm_tf.beam.elements import Shard
from hslm_tf.beam.files import file_sizes, read_file, write_file
from hslm_tf.data.errors import DataError
from hslm_tf.images.listing import SUFFIXES


class PhotographList:
    """Names of photographs in a file, a name a line, of which a worker reads its shard's alone."""

    def __init__(self, path: str, folder: str, line_ends: np.ndarray) -> None:
        self._path, self.folder, self._line_ends = path, folder, line_ends

    @classmethod
    def of_folder(cls, folder: str, path: str) -> "PhotographList":
        """Lists a folder and the folders below it, or reads the list that was made before."""
        folder = folder.rstrip("/")
        if not FileSystems.exists(path):
            found = (name[len(folder) + 1 :] for name in file_sizes(folder))
            names = sorted(name for name in found if name.lower().endswith(SUFFIXES))
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
        """Where a photograph lies."""
        return FileSystems.join(self.folder, *name.split("/"))
