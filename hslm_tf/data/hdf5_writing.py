"""HDF5 files that are written."""

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py

from hslm_tf.data.atomic_write import naming, take_room
from hslm_tf.data.errors import DataError

# Bytes that HDF5 needs beside the values; a string has a reference, a header and part of a heap.
_OVERHEAD, _PER_STRING = 1 << 16, 64


@contextmanager
def write_hdf5_file(path: Path, room: int, mode: Literal["a", "w"] = "w") -> Iterator[h5py.File]:
    """Opens a file to write to, if there is room for as many bytes as `bytes_of` counts."""
    # HDF5 1.14 can crash the process when a file cannot be written to its end.
    with naming(path, path.parent), tempfile.TemporaryFile(dir=path.parent) as trial:
        take_room(trial.fileno(), room + _OVERHEAD)
    try:
        with h5py.File(path, mode) as file:
            yield file
    except RuntimeError as error:
        # h5py raises it for a file that cannot be closed.
        raise OSError(" ".join(str(error).split())[:300]) from error


def bytes_of(values: Iterable[Any]) -> int:
    """How many bytes arrays and lists of strings take in a file, at most."""
    return sum(
        sum(len(text.encode("utf-8", "replace")) + _PER_STRING for text in value)
        if isinstance(value, list)
        else math.prod(map(int, value.shape)) * value.dtype.itemsize
        for value in values
    )


def write_strings(group: h5py.Group, name: str, strings: Sequence[str], source: str) -> None:
    """Writes a list of strings."""
    for row, text in enumerate(strings):
        # Neither a zero byte nor half a character can be written.
        if "\0" in text or text != text.encode("utf-8", "replace").decode("utf-8"):
            raise DataError(f"{source}, {name}, row {row}: HDF5 cannot hold the text {text!r}")
    group.create_dataset(name, data=list(strings), dtype=h5py.string_dtype("utf-8"))
