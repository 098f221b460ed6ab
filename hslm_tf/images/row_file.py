"""A `.npy` file that grows by rows."""

from io import BytesIO
from pathlib import Path

import numpy as np


class RowFile:
    """Writes a `.npy` file row by row; an interrupted file continues after `rows` rows."""

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: np.dtype, rows: int) -> None:
        self._row_shape, self._dtype, self.rows = row_shape, np.dtype(dtype), rows
        start = self._header()
        end = len(start) + rows * self._dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
        path.touch()
        self._file = open(path, "r+b")
        size = self._file.seek(0, 2)
        if rows and size < end:
            raise OSError(f"{path} has {size} bytes, expected {end} for {rows} rows")
        self._file.seek(0)
        self._file.write(start)
        self._file.truncate(end)
        self._file.seek(end)

    def append(self, rows: np.ndarray) -> None:
        """Writes rows after those that are there."""
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self._file.flush()
        self.rows += len(rows)

    def close(self) -> None:
        """Writes the number of rows into the header and closes the file."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    def _header(self) -> bytes:
        # NumPy leaves room in a header for the first axis to grow: its length never changes.
        header = BytesIO()
        shape = (self.rows, *self._row_shape)
        np.lib.format.write_array_header_1_0(
            header, {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        )
        return header.getvalue()
