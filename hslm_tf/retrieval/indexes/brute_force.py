"""Inner products with all items: the default, and what the other indexes are compared with."""

import numpy as np
import tensorflow as tf

from hslm_tf.retrieval.indexes.base import check_items, check_queries

# Largest number of inner products held at once, 256 MiB.
_BLOCK_PRODUCTS = 2**26


class BruteForceIndex:
    """Compares a query with every item; of equal products the item that was indexed first wins."""

    is_exact = True

    def __init__(self) -> None:
        self._vectors = self._ids = None

    def index(self, vectors: np.ndarray, ids: np.ndarray | None = None) -> "BruteForceIndex":
        """As `Index.index`; the vectors are copied."""
        vectors, self._ids = check_items(vectors, ids)
        # TensorFlow multiplies, not NumPy: after a product the threads of NumPy's BLAS keep the
        # cores busy for tens of milliseconds, while the model needs them for the candidates.
        self._vectors = tf.constant(vectors)
        return self

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Index.search`."""
        dim = None if self._vectors is None else self._vectors.shape[1]
        queries = check_queries(queries, k, dim)
        k = min(k, len(self._ids))
        at_once = max(1, _BLOCK_PRODUCTS // len(self._ids))
        scores = np.empty((len(queries), k), np.float32)
        ids = np.empty((len(queries), k), np.int64)
        for first in range(0, len(queries), at_once):
            block = slice(first, first + at_once)
            # top_k prefers the lower index among equal values.
            best = tf.math.top_k(tf.matmul(queries[block], self._vectors, transpose_b=True), k)
            scores[block] = best.values
            ids[block] = self._ids[best.indices]
        return scores, ids
