"""HDF5 files that are written."""

import errno
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from hslm_tf.data.caption_files import written_ids
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError

# Bytes that HDF5 needs beside the values; a string has a reference, a header and part of a heap.
_OVERHEAD, _OF_A_STRING = 1 << 16, 64


@contextmanager
def write_hdf5_file(path: Path, room: int, mode: Literal["a", "w"] = "w") -> Iterator[h5py.File]:
    """Opens a file to write to, if there is room for it."""
    _check_room(path.parent, room + _OVERHEAD)
    try:
        with h5py.File(path, mode) as file:
            yield file
    except RuntimeError as error:
        # So h5py says that a file cannot be closed.
        raise OSError(" ".join(str(error).split())[:300]) from error


def _check_room(folder: Path, room: int) -> None:
    # Systems that cannot tell, such as macOS and some file systems, are trusted to have it.
    if not hasattr(os, "posix_fallocate"):
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, room)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise


def bytes_of(values: Iterable[Any]) -> int:
    """How many bytes values take in a file, at most."""
    return sum(
        sum(len(text.encode("utf-8", "replace")) + _OF_A_STRING for text in value)
        if isinstance(value, list)
        else math.prod(map(int, value.shape)) * value.dtype.itemsize
        for value in values
    )


def write_strings(group: h5py.Group, name: str, strings: Sequence[str], source: str) -> None:
    """Writes a list of strings."""
    for row, text in enumerate(strings):
        try:
            held = "\0" not in text and text.encode("utf-8") is not None
        except UnicodeEncodeError:
            held = False
        if not held:
            raise DataError(f"{source}, {name}, row {row}: HDF5 cannot hold the text {text!r}")
    group.create_dataset(name, data=list(strings), dtype=h5py.string_dtype("utf-8"))


def bytes_of_split(dataset: RetrievalDataset, dtype: np.dtype) -> int:
    """How many bytes a split takes in a file, at most."""
    images, regions = dataset.num_images, dataset.max_regions
    # Four float32 for a box, a number of regions, and ids for captions where they differ in number.
    numbers = images * (regions * (dataset.region_dim * dtype.itemsize + 16) + 8)
    ids = written_ids(dataset) or []
    return numbers + bytes_of([dataset.captions, ids, [json.dumps(dataset.extraction)]])
