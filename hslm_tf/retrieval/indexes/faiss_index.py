"""faiss in memory: for collections that brute force is too slow for."""

import numpy as np

from hslm_tf.retrieval.indexes.base import check_items, check_queries

# Below this many items, comparing with all of them is fast enough.
_FLAT_BELOW = 50_000


class FaissIndex:
    """An index of faiss as `faiss.index_factory` describes it, such as `HNSW32`."""

    def __init__(self, description: str | None = None, probes: int | None = None) -> None:
        try:
            import faiss
        except ImportError as error:
            raise ImportError("faiss is not installed: pip install hslm-tf[faiss]") from error
        self._faiss = faiss
        self._description, self._probes = description, probes
        self._index = None

    @property
    def is_exact(self) -> bool:
        """Whether nothing is ever missed."""
        if self._index is None:
            return False
        return type(self._faiss.downcast_index(self._index)).__name__ == "IndexFlat"

    def index(self, vectors: np.ndarray, ids: np.ndarray | None = None) -> "FaissIndex":
        """As `Index.index`."""
        vectors, ids = check_items(vectors, ids)
        description = self._description or _default_description(len(vectors))
        try:
            inner = self._faiss.index_factory(
                vectors.shape[1], description, self._faiss.METRIC_INNER_PRODUCT
            )
        except RuntimeError as error:
            raise ValueError(
                f"faiss knows no such index. Received: description={description!r}"
            ) from error
        # Inverted lists may lie behind a transformation of the vectors.
        inverted = self._faiss.try_extract_index_ivf(inner)
        lists = 0 if inverted is None else inverted.nlist
        if lists > len(vectors):
            raise ValueError(
                f"{len(vectors)} items do not fill {lists} inverted lists. "
                f"Received: description={description!r}"
            )
        if lists:
            # The defaults, 256 vectors a list and 25 rounds, take minutes at a million vectors.
            inverted.cp.max_points_per_centroid, inverted.cp.niter = 64, 10
        inner.train(vectors)
        if lists:
            inverted.nprobe = min(self._probes or max(1, lists // 32), lists)
        # Not every index of faiss keeps ids, so `search` looks them up by their places.
        inner.add(vectors)
        self._index, self._ids = inner, ids
        return self

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Index.search`."""
        queries = check_queries(queries, k, None if self._index is None else self._index.d)
        scores, places = self._index.search(queries, min(k, len(self._ids)))
        found = places >= 0
        return np.where(found, scores, -np.inf), np.where(found, self._ids[places], -1)


def _default_description(items: int) -> str:
    if items < _FLAT_BELOW:
        return "Flat"
    return f"IVF{2 ** round(np.log2(4 * items**0.5))},Flat"
