"""`.npy` files larger than memory."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.file_rows import FileRows

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def map_array(path: Path) -> np.ndarray:
    """Memory-maps a `.npy` file after checking that it is as long as its header says.

    Args:
        path: the file.

    Returns:
        The array, read-only.

    Raises:
        DataError: if it is not a `.npy` file of numbers, or shorter than its header says.
    """
    try:
        with open(path, "rb") as file:
            shape, _, dtype = _HEADER_READERS[np.lib.format.read_magic(file)](file)
            expected = file.tell() + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} is not a .npy array: {error}") from error
    if dtype.hasobject:
        raise DataError(f"{path} holds Python objects, expected numbers")
    found = path.stat().st_size
    if found < expected:
        raise DataError(
            f"{path} is truncated: {found} bytes, expected {expected} for {dtype} of shape {shape}"
        )
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def open_rows(path: Path) -> FileRows | np.ndarray:
    """Opens a `.npy` file, checked as by `map_array`, to read some of its rows at a time.

    Args:
        path: the file.

    Returns:
        Its rows, or the mapped array where a row does not lie in one piece.

    Raises:
        DataError: if `map_array` would raise it.
    """
    array = map_array(path)
    if not isinstance(array, np.memmap) or array.ndim < 2 or not array.flags.c_contiguous:
        return array
    return FileRows(path, array.shape, array.dtype, array.offset)


def write_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, blocks: Iterable[np.ndarray]
) -> None:
    """Writes a `.npy` file block by block.

    Args:
        path: the file, overwritten if it exists.
        shape: shape of the whole array.
        dtype: type of the array; the blocks have it already.
        blocks: the rows in order, `[b, ...]` at a time.
    """
    with open(path, "wb") as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)
