"""Files of a pipeline under paths and addresses such as `gs://bucket/folder`, by Beam."""

import io
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO

import numpy as np
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hslm_tf.data.atomic_write import naming
from hslm_tf.data.errors import DataError
from hslm_tf.data.npy import BROKEN_NPZ, read_member
from hslm_tf.data.regular_file import regular_file

_DRAFT = "draft-"
# Beam would unpack a file whose name ends like an archive's.
_AS_IT_IS = {"compression_type": CompressionTypes.UNCOMPRESSED}


def is_local(path: str) -> bool:
    """Whether a path lies in the file system of this machine."""
    return FileSystems.get_scheme(path) is None


def read_file(path: str) -> bytes:
    """Reads a file."""
    with naming(path), _opened(path) as file:
        return file.read()


def _opened(path: str) -> BinaryIO:
    """Opens a file, which a pipe or a device is not."""
    if is_local(path):
        regular_file(path)
    return FileSystems.open(path, **_AS_IT_IS)


def write_file(path: str, content: bytes) -> None:
    """Writes a file in one piece: it is never seen in part."""
    folder, name = FileSystems.split(path)
    # A cluster may run the same work twice at the same time, so every draft has another name.
    draft = FileSystems.join(folder, f"{_DRAFT}{uuid.uuid4().hex}-{name}")
    try:
        with naming(path):
            with FileSystems.create(draft, **_AS_IT_IS) as file:
                file.write(content)
            FileSystems.rename([draft], [path])
    except BaseException:
        with suppress(Exception):
            FileSystems.delete([draft])
        raise


def file_sizes(folder: str) -> dict[str, int]:
    """Lists a folder and the folders below it; it need not exist."""
    try:
        (matches,) = FileSystems.match([f"{folder}/**"])
    except BeamIOError:
        return {}
    return {file.path: file.size_in_bytes for file in matches.metadata_list}


def remove_drafts(folder: str) -> None:
    """Removes drafts of killed writers; no writer may be at work."""
    drafts = [path for path in file_sizes(folder) if FileSystems.split(path)[1].startswith(_DRAFT)]
    if drafts:
        FileSystems.delete(drafts)


def copy_folder(source: str, target: str) -> None:
    """Copies all files of a folder and of the folders below it."""
    paths = file_sizes(source)
    if not paths:
        raise FileNotFoundError(f"{source} holds no files")
    for path in paths:
        below = path[len(source.rstrip("/")) + 1 :]
        write_file(FileSystems.join(target, *below.split("/")), read_file(path))


def write_shard(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a shard in one piece: an uncompressed `.npz`, whose checksums are CRC-32."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_file(path, content.getvalue())


def read_shard(
    path: str, names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Reads some arrays of a shard and compares their checksums."""
    try:
        with _opened(path) as file, zipfile.ZipFile(file) as shard:
            there = [name for name in optional if f"{name}.npy" in shard.namelist()]
            return {name: read_member(shard, name, path) for name in (*names, *there)}
    except BROKEN_NPZ as error:
        raise DataError(
            f"{path} cannot be read as a shard: {error}; remove it, and a restart writes it again"
        ) from error


class ShardArray:
    """One array of a shard, which is read when its rows are needed."""

    def __init__(self, path: str, name: str, shape: tuple[int, ...], dtype: np.dtype | str) -> None:
        self._path, self._name = path, name
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows."""
        values = read_shard(self._path, [self._name])[self._name]
        if (values.shape, values.dtype) != (self.shape, self.dtype):
            raise DataError(
                f"{self._path}: {self._name} is {values.dtype} of shape {values.shape}, "
                f"expected {self.dtype} of shape {self.shape}"
            )
        return values[rows]
