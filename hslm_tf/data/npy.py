"""Arrays in `.npy` and `.npz` files: checked before memory is taken, read and written in rows."""

import logging
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from hslm_tf.data.archives import check_unpacked
from hslm_tf.data.atomic_write import naming
from hslm_tf.data.errors import DataError
from hslm_tf.data.regular_file import regular_file

logger = logging.getLogger("hslm_tf")
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_LONGEST_HEADER = 1 << 16
# NumPy raises these on a header that it, or Python's parser, does not understand.
_ODD_HEADERS = (
    *(KeyError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError),
    TokenError,
)
# zipfile, zlib and NumPy raise these on a `.npz` that is damaged, encrypted or oddly compressed.
BROKEN_NPZ = (
    *_ODD_HEADERS,
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, OSError),
)


class FileRows:
    """Rows of an array that lies in one piece in a file; safe under threads and after a fork."""

    # A memory map counts every page that was read as memory of this process, and read-ahead reads
    # megabytes around a row of a few hundred kilobytes.

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, ...],
        dtype: np.dtype,
        offset: int,
        source: str | None = None,
    ) -> None:
        self._path = path
        self._source = source or os.fspath(path)
        self._offset = offset
        self.shape = shape
        self.dtype = dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows."""
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        size = self.dtype.itemsize * math.prod(self.shape[1:])
        starts = [self._offset + size * int(row) for row in rows]
        with naming(self._path), open(self._path, "rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):
                # No read-ahead; all rows are announced to the system at once.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                for start in starts:
                    os.posix_fadvise(file.fileno(), start, size, os.POSIX_FADV_WILLNEED)
            for place, start in enumerate(starts):
                file.seek(start)
                if file.readinto(values[place]) != size:
                    raise DataError(f"{self._path} ends within row {rows[place]}")
        return values

    def place(self, row: int) -> str:
        """Names a row in an error message."""
        return f"{self._source}, row {row}"


def read_header(file: BinaryIO, place: str) -> tuple[tuple[int, ...], np.dtype]:
    """Reads shape and type from the header of a `.npy` file, or of one inside a `.npz`."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (2, 0):
            length = int.from_bytes(file.read(4), "little")
            # NumPy would take that much memory before it finds the header too long.
            if length > _LONGEST_HEADER:
                raise ValueError(f"its header has {length} bytes")
            file.seek(-4, os.SEEK_CUR)
        shape, _, dtype = _HEADER_READERS[version](file)
    except _ODD_HEADERS as error:
        raise DataError(f"{place} is not a .npy array: {error}") from error
    if min(shape, default=0) < 0:
        raise DataError(f"{place} is not a .npy array: its shape is {shape}")
    if dtype.hasobject:
        raise DataError(
            f"{place} holds Python objects, expected numbers. They are not opened here, because "
            "that can run code; where you trust the file, open it with numpy.load(FILE, "
            "allow_pickle=True) and save its arrays with numpy.savez"
        )
    return shape, dtype


def map_array(path: Path) -> np.ndarray:
    """Memory-maps a `.npy` file after checking that it is exactly as long as its header says."""
    with naming(path), open(regular_file(path), "rb") as file:
        shape, dtype = read_header(file, str(path))
        expected = file.tell() + dtype.itemsize * math.prod(shape)
    length = path.stat().st_size
    if length != expected:
        # A header whose length is damaged would shift all numbers, silently.
        wrong = "is truncated" if length < expected else "has a damaged header or a foreign end"
        raise DataError(
            f"{path} {wrong}: {length} bytes, expected {expected} for {dtype} of shape {shape}"
        )
    try:
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except _ODD_HEADERS as error:
        raise DataError(f"{path} is not a .npy array: {error}") from error


def open_rows(path: Path) -> FileRows | np.ndarray:
    """Opens a `.npy` file, checked as by `map_array`, to read some of its rows at a time."""
    array = map_array(path)
    if not isinstance(array, np.memmap) or array.ndim < 2:
        return array
    if not array.flags.c_contiguous:
        logger.warning(
            f"{path} is in Fortran's order, in which a row is spread over the whole file: reading "
            "is slow, and memory grows to the size of the file. `python -m hslm_tf.convert` writes "
            "it row by row"
        )
        return array
    return FileRows(path, array.shape, array.dtype, array.offset)


def write_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, blocks: Iterable[np.ndarray]
) -> None:
    """Writes a `.npy` file block by block."""
    with open(path, "wb") as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)


def read_member(
    archive: zipfile.ZipFile, key: str, place: str, largest: float = math.inf
) -> np.ndarray:
    """Reads an array of a `.npz` whose header and whose length in the archive agree."""
    name = f"{key}.npy"
    check_unpacked(archive, name, place)
    with archive.open(name) as file:
        shape, dtype = read_header(file, f"{place}, {key}")
        length = archive.getinfo(name).file_size - file.tell()
    if length != dtype.itemsize * math.prod(shape):
        raise DataError(f"{place}: {key} has {length} bytes, expected {dtype} of shape {shape}")
    if length > largest:
        raise DataError(f"{place}: {key} of shape {shape} has more than {largest} bytes")
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
