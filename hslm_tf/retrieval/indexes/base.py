"""The interface of every index, and checks that all of them need."""

from typing import Protocol

import numpy as np


class Index(Protocol):
    """Finds the items whose vectors have the largest inner products with a query."""

    @property
    def is_exact(self) -> bool:
        """Whether nothing is ever missed."""

    def index(self, vectors: np.ndarray, ids: np.ndarray | None = None) -> "Index":
        """Takes in the items, in place of any that were there.

        Args:
            vectors: float32 `[n, dim]`.
            ids: unique int64 `[n]`, not negative; by default 0 to n - 1.

        Returns:
            The index itself.

        Raises:
            ValueError: if the vectors or the ids are not as described.
        """

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the best items.

        Args:
            queries: float32 `[q, dim]`.
            k: how many.

        Returns:
            Inner products, float32 `[q, min(k, n)]`, best first, and ids, int64 of that shape.
            Where an index that is not exact finds fewer, -inf and -1 fill the row.

        Raises:
            ValueError: if nothing is indexed, the queries are not as wide, or k is less than 1.
        """


def check_items(vectors: np.ndarray, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Checks vectors and ids that are to be indexed."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(
            f"vectors must be [items, dim], one item at least. Received: shape {vectors.shape}"
        )
    ids = np.arange(len(vectors)) if ids is None else np.asarray(ids, np.int64)
    if ids.shape != vectors.shape[:1] or ids.min() < 0 or len(np.unique(ids)) != len(ids):
        raise ValueError(
            f"ids must be {len(vectors)} different integers, none negative. "
            f"Received: ids of shape {ids.shape}"
        )
    # A sum is finite only if all its terms are, and needs no further array.
    if not np.isfinite(vectors.sum(dtype=np.float64)):
        raise ValueError("vectors must be finite. Received: NaN or infinity")
    return vectors, ids


def check_queries(queries: np.ndarray, k: int, dim: int | None) -> np.ndarray:
    """Checks queries, and that something is indexed."""
    if dim is None:
        raise ValueError("Nothing is indexed: call `index` before `search`")
    queries = np.ascontiguousarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(
            f"queries must be [queries, {dim}]. Received: queries.shape={queries.shape}"
        )
    if k < 1:
        raise ValueError(f"k must be at least 1. Received: k={k}")
    return queries
