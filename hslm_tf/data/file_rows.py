"""Rows of an array that lies in one piece in a file, in C order."""

import os

import numpy as np

from hslm_tf.data.errors import DataError


class FileRows:
    """Rows of an array in a file, read on demand; safe under threads and after a fork."""

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
        size = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        with open(self._path, "rb", buffering=0) as file:
            starts = [self._offset + size * int(row) for row in rows]
            _read_soon(file.fileno(), starts, size)
            for place, start in enumerate(starts):
                file.seek(start)
                if file.readinto(values[place]) != size:
                    raise DataError(f"{self._path} ends within row {rows[place]}")
        return values

    def place(self, row: int) -> str:
        """Names a row in an error message, by the file and the row in it."""
        return f"{self._source}, row {row}"


def _read_soon(file: int, starts: list[int], size: int) -> None:
    # Announces all rows to the system at once, and turns off read-ahead around them.
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        for start in starts:
            os.posix_fadvise(file, start, size, os.POSIX_FADV_WILLNEED)
