"""Datasets in HDF5 files: checks before one is trusted, and rows that are read on demand."""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.npy import FileRows
from hslm_tf.data.regular_file import regular_file
from hslm_tf.data.text_lines import check_line

# h5py raises these on damaged files, and on types that NumPy does not have.
_H5PY_ERRORS = (OSError, KeyError, RuntimeError, TypeError, ValueError)
# The filters of HDF5 and h5py, each with the largest factor by which it can compress.
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE: ("gzip", 1032),
    h5py.h5z.FILTER_SHUFFLE: ("shuffle", 1),
    h5py.h5z.FILTER_FLETCHER32: ("fletcher32", 1),
    h5py.h5z.FILTER_SZIP: ("szip", 1032),
    h5py.h5z.FILTER_LZF: ("lzf", 1032),
}
# A chunk is unpacked in memory as a whole, even where one row is read.
_LARGEST_CHUNK = 1 << 28


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether a path names an HDF5 file."""
    return Path(path).suffix.lower() in (".h5", ".hdf5")


@contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Opens a file to read, and names it in errors of HDF5."""
    try:
        with h5py.File(regular_file(path), "r") as file:
            yield file
    except DataError:
        raise
    except _H5PY_ERRORS as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}") from error


def group_at(file: h5py.File, name: str) -> h5py.Group | None:
    """Finds a group at the root of a file."""
    # A link to another file is not followed, not even to see what is there.
    if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
        return None
    group = file.get(name)
    if not isinstance(group, h5py.Group) or group.file.filename != file.filename:
        return None
    return group


def dataset_at(file: h5py.File, key: str) -> h5py.Dataset:
    """Finds a dataset whose values lie in the file itself, and whose size the file can hold."""
    place = f"{file.filename}:/{key}"
    elsewhere = DataError(f"{place} lies in another file, expected the values in this one")
    if isinstance(file.get(key, getlink=True), h5py.ExternalLink):
        raise elsewhere
    try:
        dataset = file[key]
    except KeyError as error:
        raise DataError(f"{place} cannot be found: {error.args[0]}") from error
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{place} is a group, expected a dataset")
    if dataset.file.filename != file.filename or dataset.external or dataset.is_virtual:
        raise elsewhere
    if dataset.shape is None:
        raise DataError(f"{place} is empty: it has no shape")
    _check_size(dataset, place)
    _check_values(dataset, place)
    return dataset


def _check_values(dataset: h5py.Dataset, place: str) -> None:
    """Refuses values that h5py would change or make up."""
    # h5py takes bfloat16 for half precision.
    if dataset.dtype.kind == "f" and dataset.id.get_type() != h5py.h5t.py_create(dataset.dtype):
        raise DataError(f"{place} has a floating-point type of its own, expected an IEEE type")
    if not dataset.size:
        return
    # HDF5 reads zeros where nothing was written.
    missing = "all its values" if dataset.id.get_storage_size() == 0 else ""
    if dataset.chunks is not None:
        chunks = math.prod(
            -(-n // size) for n, size in zip(dataset.shape, dataset.chunks, strict=True)
        )
        written = dataset.id.get_num_chunks()
        missing = f"{chunks - written} of its {chunks} chunks" if written < chunks else ""
    if missing:
        raise DataError(f"{place} lacks {missing}: they were never written")


def _check_size(dataset: h5py.Dataset, place: str) -> None:
    size = os.path.getsize(dataset.file.filename)
    item = dataset.dtype.itemsize
    largest = size * _compression(dataset, place)
    rows = (dataset.shape or (1,))[0]
    if rows > size or math.prod(dataset.shape) * item > largest:
        raise DataError(
            f"{place} has shape {dataset.shape}, more than a file of {size} bytes holds: it is "
            "damaged"
        )
    chunk = math.prod(dataset.chunks or ()) * item
    if chunk > min(max(largest, item), _LARGEST_CHUNK):
        raise DataError(
            f"{place} has chunks of shape {dataset.chunks}, {chunk} bytes each: at most "
            f"{_LARGEST_CHUNK} are read, and no more than a file of {size} bytes holds"
        )


def _compression(dataset: h5py.Dataset, place: str) -> int:
    """How many times larger than the file the values may be."""
    if dataset.chunks is None:
        return 1
    created = dataset.id.get_create_plist()
    largest = 1
    for number in range(created.get_nfilters()):
        code, _, _, name = created.get_filter(number)
        if code not in _FILTERS:
            known = ", ".join(name for name, _ in _FILTERS.values())
            raise DataError(
                f"{place} is packed with the filter {name.decode(errors='replace')!r} (number "
                f"{code}), a plugin, expected {known} or none: plugins are code, and none is loaded"
            )
        largest = max(largest, _FILTERS[code][1])
    return largest


class HDF5Rows:
    """Rows of an HDF5 dataset, read on demand; safe under threads and after a fork."""

    def __init__(
        self, path: str | os.PathLike[str], key: str, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self._path = path
        self._key = key
        self._lock = threading.Lock()
        self._process = -1
        self.shape = shape
        self.dtype = dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows."""
        ordered, places = np.unique(rows, return_inverse=True)
        values = np.empty((len(ordered), *self.shape[1:]), self.dtype)
        with self._lock:
            try:
                dataset = self._dataset()
                if len(ordered) == ordered[-1] - ordered[0] + 1:
                    dataset.read_direct(values, np.s_[ordered[0] : ordered[-1] + 1])
                else:
                    # A selection of scattered rows costs more in HDF5 than reading them singly.
                    for place, row in enumerate(ordered):
                        dataset.read_direct(values, np.s_[row], np.s_[place])
            except _H5PY_ERRORS as error:
                raise DataError(
                    f"{self._path}:/{self._key}, rows {ordered[0]} to {ordered[-1]}: {error}"
                ) from error
        return values[places]

    def place(self, row: int) -> str:
        """Names a row in an error message."""
        return f"{self._path}:/{self._key}, row {row}"

    def _dataset(self) -> h5py.Dataset:
        if self._process != os.getpid():
            # Room for several chunks: readers of other tools' files ask for one image at a time.
            self._file = h5py.File(self._path, "r", rdcc_nbytes=1 << 26)
            self._process = os.getpid()
        return self._file[self._key]


def open_rows(path: str | os.PathLike[str], key: str) -> FileRows | HDF5Rows:
    """Opens a dataset to read some of its rows at a time."""
    with open_hdf5(path) as file:
        dataset = dataset_at(file, key)
        # The offset is None where the dataset is in chunks or was never written.
        offset = dataset.id.get_offset()
        if offset is not None and file.userblock_size == 0 and dataset.ndim > 1:
            return FileRows(path, dataset.shape, dataset.dtype, offset, f"{path}:/{key}")
        return HDF5Rows(path, key, dataset.shape, dataset.dtype)


def read_strings(values: h5py.Dataset, place: str, strip: bool = True) -> list[str]:
    """Reads a list of strings."""
    if h5py.check_string_dtype(values.dtype) is None or len(values.shape) != 1:
        raise DataError(
            f"{place} is {values.dtype} of shape {values.shape}, expected a list of strings"
        )
    strings = []
    for row, value in enumerate(values[()]):
        check_line(value, f"{place}, row {row}")
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{place}, row {row}: {error}, expected UTF-8") from error
        strings.append(text.strip() if strip else text)
    return strings
