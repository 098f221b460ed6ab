"""Smallest, largest, mean and deviation of every column of a matrix that is seen in pieces."""

from typing import Any

import numpy as np


class ColumnStatistics:
    """Numbers about each column, float64, of finite values; NaN where a column has none."""

    def __init__(self, width: int) -> None:
        self.count = np.zeros(width, np.int64)
        self.smallest = np.full(width, np.nan)
        self.largest = np.full(width, np.nan)
        self._zeros = np.zeros(width, np.int64)
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)

    def add(self, rows: np.ndarray) -> None:
        """Adds more rows."""
        if not len(rows):
            return
        values = rows.astype(np.float64)
        values[~np.isfinite(values)] = np.nan
        count = len(values) - np.isnan(values).sum(axis=0)
        self.smallest = np.fmin(self.smallest, np.fmin.reduce(values))
        self.largest = np.fmax(self.largest, np.fmax.reduce(values))
        self._zeros += (values == 0).sum(axis=0)
        mean = np.nansum(values, axis=0) / np.maximum(count, 1)
        values -= mean
        squares = np.nansum(np.square(values, out=values), axis=0)
        # Deviations from the mean of the piece are joined, as by Chan, Golub and LeVeque: sums of
        # squares would lose the deviation of columns far from zero.
        total = np.maximum(self.count + count, 1)
        step = mean - self._mean
        self._squares += squares + step**2 * self.count * count / total
        self._mean += step * count / total
        self.count += count

    @property
    def mean(self) -> np.ndarray:
        """Mean of every column."""
        return np.where(self.count, self._mean, np.nan)

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of every column."""
        return (self._squares / np.where(self.count, self.count, np.nan)) ** 0.5

    @property
    def zeros(self) -> np.ndarray:
        """Share of zeros in every column."""
        return self._zeros / np.where(self.count, self.count, np.nan)

    @property
    def constant(self) -> np.ndarray:
        """Numbers of the columns that hold one value, rising."""
        return np.flatnonzero(self.smallest == self.largest)

    @property
    def by_magnitude(self) -> np.ndarray:
        """Numbers of the columns, that with the largest absolute value first."""
        magnitude = np.fmax(np.abs(self.smallest), np.abs(self.largest))
        return np.argsort(-np.nan_to_num(magnitude), kind="stable")

    def overall(self) -> dict[str, float | None]:
        """The same numbers over all columns together; None where nothing is finite."""
        total = self.count.sum()
        if not total:
            return dict.fromkeys(("smallest", "largest", "mean", "deviation", "zeros"))
        seen = self.count > 0
        weights = self.count[seen] / total
        mean = weights @ self.mean[seen]
        variance = weights @ (self.deviation[seen] ** 2 + (self.mean[seen] - mean) ** 2)
        return {
            "smallest": float(self.smallest[seen].min()),
            "largest": float(self.largest[seen].max()),
            "mean": float(mean),
            "deviation": float(variance**0.5),
            "zeros": float(weights @ self.zeros[seen]),
        }

    def to_dict(self) -> dict[str, Any]:
        """All numbers by name."""
        names = ("constant", "count", "smallest", "largest", "mean", "deviation", "zeros")
        return {"overall": self.overall()} | {name: getattr(self, name) for name in names}
