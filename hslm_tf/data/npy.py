"""`.npy` files larger than memory."""

import math
from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.file_rows import FileRows

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# NumPy raises these on a header that it, or Python's parser, does not understand.
_ODD_HEADERS = (
    *(KeyError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError),
    TokenError,
)


def read_header(file: BinaryIO, place: str) -> tuple[tuple[int, ...], np.dtype]:
    """Reads the header of a `.npy` file, or of one inside a `.npz`."""
    try:
        shape, _, dtype = _HEADER_READERS[np.lib.format.read_magic(file)](file)
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
    with open(path, "rb") as file:
        shape, dtype = read_header(file, str(path))
        expected = file.tell() + dtype.itemsize * math.prod(shape)
    found = path.stat().st_size
    if found != expected:
        # A header whose length is damaged would shift all numbers, silently.
        wrong = "is truncated" if found < expected else "has a damaged header or a foreign end"
        raise DataError(
            f"{path} {wrong}: {found} bytes, expected {expected} for {dtype} of shape {shape}"
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
    if not isinstance(array, np.memmap) or array.ndim < 2 or not array.flags.c_contiguous:
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
