"""The file of a shard: NumPy arrays in an uncompressed `.npz`, whose checksums are CRC-32."""

import io
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hslm_tf.beam.files import write_file
from hslm_tf.data.errors import DataError
from hslm_tf.data.npy import BROKEN_NPZ, read_member


def write_shard(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a shard in one piece."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_file(path, content.getvalue())


def read_shard(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads some arrays of a shard and compares their checksums."""
    try:
        with (
            FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file,
            zipfile.ZipFile(file) as shard,
        ):
            there = {name.removesuffix(".npy") for name in shard.namelist()}
            return {name: read_member(shard, name, path) for name in names if name in there}
    except BROKEN_NPZ as error:
        raise DataError(
            f"{path} cannot be read as a shard: {error}; remove it, and a restart writes it again"
        ) from error


class ShardArray:
    """One array of a shard, read when rows of it are asked for."""

    def __init__(self, path: str, name: str, shape: tuple[int, ...], dtype: np.dtype | str) -> None:
        self._path, self._name = path, name
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows."""
        values = read_shard(self._path, [self._name]).get(self._name)
        found = None if values is None else (values.shape, values.dtype)
        if found != (self.shape, self.dtype):
            raise DataError(
                f"{self._path}: {self._name} is {found}, expected {(self.shape, self.dtype)}"
            )
        return values[rows]
