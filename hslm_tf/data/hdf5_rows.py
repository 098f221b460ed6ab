"""Datasets in HDF5 files: checks before one is trusted, and rows that are read on demand."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.file_rows import FileRows
from hslm_tf.data.hdf5_checks import check_names, check_storage, check_strings

HDF5_SUFFIXES = (".h5", ".hdf5")
# h5py raises these on damaged files, and on types that NumPy does not have.
_FOREIGN = (OSError, KeyError, RuntimeError, TypeError, ValueError)


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether a path names an HDF5 file.

    Args:
        path: the path; it need not exist.

    Returns:
        True for the endings `.h5` and `.hdf5`.
    """
    return Path(path).suffix.lower() in HDF5_SUFFIXES


@contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Opens a file to read, and names it in errors of HDF5.

    Args:
        path: the file.

    Yields:
        The file.

    Raises:
        DataError: if it is not HDF5, is truncated or is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            check_names(file, f"{path}:/")
            yield file
    except DataError:
        raise
    except _FOREIGN as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}") from error


def group_at(file: h5py.File, name: str) -> h5py.Group | None:
    """Finds a group at the root of a file.

    Args:
        file: the file.
        name: name of the group.

    Returns:
        The group; None where there is none in the file itself.

    Raises:
        DataError: if it is damaged.
    """
    # A link to another file is not followed, not even to see what is there.
    if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
        return None
    group = file.get(name)
    if not isinstance(group, h5py.Group) or group.file.filename != file.filename:
        return None
    check_names(group, f"{file.filename}:/{name}")
    return group


def dataset_at(file: h5py.File, key: str) -> h5py.Dataset:
    """Finds a dataset whose values lie in the file itself, and whose size the file can hold.

    Args:
        file: the file.
        key: the dataset in it.

    Returns:
        The dataset.

    Raises:
        DataError: if it is missing, is a group, is empty of any shape, or `check_storage` refuses
            it.
    """
    place = f"{file.filename}:/{key}"
    elsewhere = f"{place} lies in another file, expected the values in this one"
    if isinstance(file.get(key, getlink=True), h5py.ExternalLink):
        raise DataError(elsewhere)
    try:
        dataset = file[key]
    except KeyError as error:
        raise DataError(f"{place} cannot be found: {error.args[0]}") from error
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{place} is a group, expected a dataset")
    if dataset.file.filename != file.filename:
        raise DataError(elsewhere)
    if dataset.shape is None:
        raise DataError(f"{place} is empty: it has no shape")
    check_storage(dataset, place)
    return dataset


class HDF5Rows:
    """Rows of an HDF5 dataset, read on demand; safe under threads and after a fork.

    Args:
        path: the file.
        key: the dataset in it.
    """

    def __init__(self, path: str | os.PathLike[str], key: str) -> None:
        self._path = path
        self._key = key
        self._lock = threading.Lock()
        self._owner = -1
        with open_hdf5(path) as file:
            dataset = dataset_at(file, key)
            self.shape: tuple[int, ...] = dataset.shape
            self.dtype: np.dtype = dataset.dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows.

        Args:
            rows: int `[b]`, in any order, repeats allowed.

        Returns:
            `[b, ...]` of `dtype`.

        Raises:
            DataError: if the file cannot be read there.
        """
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
            except _FOREIGN as error:
                raise DataError(
                    f"{self._path}:/{self._key}, rows {ordered[0]} to {ordered[-1]}: {error}"
                ) from error
        return values[places]

    def place(self, row: int) -> str:
        """Names a row in an error message, by the dataset and the row in it."""
        return f"{self._path}:/{self._key}, row {row}"

    def _dataset(self) -> h5py.Dataset:
        if self._owner != os.getpid():
            self._file = h5py.File(self._path, "r")
            self._owner = os.getpid()
        return self._file[self._key]


def open_rows(path: str | os.PathLike[str], key: str) -> FileRows | HDF5Rows:
    """Opens a dataset to read some of its rows at a time.

    Args:
        path: the file.
        key: the dataset in it.

    Returns:
        Its rows; read without HDF5 where they lie in one piece in the file.

    Raises:
        DataError: if `dataset_at` raises it.
    """
    with open_hdf5(path) as file:
        dataset = dataset_at(file, key)
        # The offset is None where the dataset is in chunks or was never written.
        offset = dataset.id.get_offset()
        if offset is not None and file.userblock_size == 0 and dataset.ndim > 1:
            return FileRows(path, dataset.shape, dataset.dtype, offset, f"{path}:/{key}")
    return HDF5Rows(path, key)


def read_strings(values: h5py.Dataset, place: str, strip: bool = True) -> list[str]:
    """Reads a list of strings.

    Args:
        values: the dataset.
        place: names it in error messages.
        strip: whether white space around a string is removed.

    Returns:
        The strings.

    Raises:
        DataError: if they are no strings, not in one axis, damaged, or not UTF-8.
    """
    if h5py.check_string_dtype(values.dtype) is None or len(values.shape) != 1:
        raise DataError(
            f"{place} is {values.dtype} of shape {values.shape}, expected a list of strings"
        )
    check_strings(values, place)
    strings = []
    for row, value in enumerate(values[()]):
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{place}, row {row}: {error}, expected UTF-8") from error
        strings.append(text.strip() if strip else text)
    return strings
