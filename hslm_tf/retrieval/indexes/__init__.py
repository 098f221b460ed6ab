"""Nearest vectors by inner product: brute force, faiss, Milvus.

Only brute force comes with the package, the others are extras; each is imported when it is made.
"""

from hslm_tf.retrieval.indexes.base import Index
from hslm_tf.retrieval.indexes.opening import Backend, open_index

__all__ = ["Backend", "Index", "open_index"]
