"""Smallest, largest, mean and deviation of every column of a matrix that is seen in pieces."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """Numbers about each of F columns; NaN where a column has no finite value."""

    count: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    zeros: np.ndarray

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
        """The same numbers over all columns together."""
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


class ColumnMoments:
    """Gathers `ColumnStatistics` from pieces, in float64, of finite values."""

    def __init__(self, width: int) -> None:
        self._count = np.zeros(width, np.int64)
        self._zeros = np.zeros(width, np.int64)
        self._smallest = np.full(width, np.nan)
        self._largest = np.full(width, np.nan)
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)

    def add(self, rows: np.ndarray) -> None:
        """Takes in more rows."""
        if not len(rows):
            return
        values = rows.astype(np.float64)
        values[~np.isfinite(values)] = np.nan
        count = len(values) - np.isnan(values).sum(axis=0)
        self._smallest = np.fmin(self._smallest, np.fmin.reduce(values))
        self._largest = np.fmax(self._largest, np.fmax.reduce(values))
        self._zeros += (values == 0).sum(axis=0)
        mean = np.nansum(values, axis=0) / np.maximum(count, 1)
        values -= mean
        squares = np.nansum(np.square(values, out=values), axis=0)
        # Deviations from the piece's own mean are joined, as by Chan, Golub and LeVeque: sums of
        # squares would lose the deviation of columns far from zero.
        total = np.maximum(self._count + count, 1)
        step = mean - self._mean
        self._squares += squares + step**2 * self._count * count / total
        self._mean += step * count / total
        self._count += count

    def statistics(self) -> ColumnStatistics:
        """Returns the statistics of all rows so far."""
        count = np.where(self._count, self._count, np.nan)
        return ColumnStatistics(
            self._count.copy(),
            self._smallest.copy(),
            self._largest.copy(),
            self._mean * (count / count),
            (self._squares / count) ** 0.5,
            self._zeros / count,
        )
