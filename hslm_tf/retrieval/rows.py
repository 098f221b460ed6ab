"""Rows of several arrays as one array, and changes of rows that copy as little as possible."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class Rows:
    """Several arrays, one after the other, behind a selection of their rows; nothing is copied."""

    def __init__(self, arrays: Sequence[Any], selection: np.ndarray | None = None) -> None:
        self._arrays = list(arrays)
        # Row i is row `selection[i]` of the concatenation; None stands for all rows.
        self._selection = selection
        self._bounds = np.cumsum([0, *(len(array) for array in self._arrays)])
        self.dtype: np.dtype = self._arrays[0].dtype
        num_rows = self._bounds[-1] if selection is None else len(selection)
        self.shape: tuple[int, ...] = (int(num_rows), *self._arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        """Reads rows."""
        rows = self._numbers(key) if self._selection is None else self._selection[key]
        return self._read(rows) if rows.ndim else self._read(rows[None])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def select(self, rows: np.ndarray) -> "Rows":
        """Keeps some rows."""
        selection = rows if self._selection is None else self._selection[rows]
        return Rows(self._arrays, np.asarray(selection, np.int64))

    def append(self, other: "Rows") -> "Rows":
        """Puts other rows behind these."""
        arrays = self._arrays + other._arrays
        if self._selection is None and other._selection is None:
            return Rows(arrays)
        selections = [
            np.arange(len(part)) if part._selection is None else part._selection
            for part in (self, other)
        ]
        return Rows(arrays, np.concatenate([selections[0], selections[1] + self._bounds[-1]]))

    def _numbers(self, key: int | slice | np.ndarray) -> np.ndarray:
        """Equals `np.arange(len(self))[key]`, without a number for every row."""
        if isinstance(key, slice):
            return np.arange(*key.indices(len(self)))
        rows = np.asarray(key, np.int64)
        rows = np.where(rows < 0, rows + len(self), rows)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"There are {len(self)} rows. Received: {key}")
        return rows

    def _read(self, rows: np.ndarray) -> np.ndarray:
        if len(self._arrays) == 1:
            return np.asarray(self._arrays[0][rows])
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        numbers = np.searchsorted(self._bounds, rows, side="right") - 1
        for number in np.unique(numbers):
            here = numbers == number
            values[here] = self._arrays[number][rows[here] - self._bounds[number]]
        return values


def select_rows(part: Any, rows: np.ndarray) -> Any:
    """Keeps some rows of a list, an array or anything that has `select`; None stays None."""
    if isinstance(part, list):
        return [part[row] for row in rows]
    if part is None or isinstance(part, np.ndarray):
        return part if part is None else part[rows]
    return part.select(rows)


def append_rows(part: Any, more: Any) -> Any:
    """Puts rows behind those of a list, an array or anything that has `append`."""
    if part is None or more is None:
        return None
    if isinstance(part, np.ndarray):
        return np.concatenate([part, more])
    return part + more if isinstance(part, list) else part.append(more)
