"""Nearest vectors by inner product: brute force, faiss, Milvus.

Only brute force comes with the package. The others are extras, imported when they are opened.
"""

from typing import Literal

from hslm_tf.retrieval.indexes.base import Index

__all__ = ["Backend", "Index", "open_index"]

Backend = Literal["brute-force", "faiss", "milvus"]


def open_index(backend: Backend, uri: str | None = None, name: str = "hslm") -> Index:
    """Makes an empty index; `name` is what the names of collections in Milvus begin with."""
    if (backend == "milvus") != (uri is not None):
        raise ValueError(
            "Milvus needs a uri, the other indexes take none. "
            f"Received: backend={backend!r}, uri={uri!r}"
        )
    if backend == "brute-force":
        from hslm_tf.retrieval.indexes.brute_force import BruteForceIndex

        return BruteForceIndex()
    if backend == "faiss":
        from hslm_tf.retrieval.indexes.faiss_index import FaissIndex

        return FaissIndex()
    if backend == "milvus":
        from hslm_tf.retrieval.indexes.milvus_index import MilvusIndex

        return MilvusIndex(uri, name)
    raise ValueError(f"There is no such index. Received: backend={backend!r}")
