"""Milvus: in this process with one file, or a cluster for what one machine cannot hold."""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from hslm_tf.retrieval.indexes.base import check_items, check_queries

_ITEM_BLOCK_SIZE = 10_000
# The most that Milvus returns for one query.
_MOST_RESULTS = 16_384


class MilvusIndex:
    """A collection in Milvus, needs the extra `milvus`."""

    # `FLAT` compares a query with everything.
    is_exact = True

    def __init__(self, uri: str, name: str = "hslm") -> None:
        try:
            import pymilvus

            if "://" not in uri:
                import milvus_lite  # noqa: F401
        except ImportError as error:
            raise ImportError("Milvus is not installed: pip install hslm-tf[milvus]") from error
        if "://" not in uri and not uri.endswith(".db"):
            raise ValueError(
                f"uri must be a file ending in .db or an address with ://. Received: uri={uri!r}"
            )
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise ValueError(
                f"name must be letters, digits and underscores. Received: name={name!r}"
            )
        self._milvus = pymilvus
        try:
            with _reasons_of_milvus_lite() as reasons:
                self._client = pymilvus.MilvusClient(uri=uri)
        except pymilvus.MilvusException as error:
            reason = reasons[-1] if reasons else error.message
            raise ConnectionError(f"Milvus cannot be opened at {uri}: {reason}") from error
        self._uri, self._name = uri, name
        self._collection = self._dim = None

    def index(self, vectors: np.ndarray, ids: np.ndarray | None = None) -> "MilvusIndex":
        """As `Index.index`; earlier collections of the same name are dropped."""
        vectors, ids = check_items(vectors, ids)
        collection = self.begin(vectors, ids)
        with self._answering():
            if not self._holds(collection, len(ids)):
                for first in range(0, len(ids), _ITEM_BLOCK_SIZE):
                    block = slice(first, first + _ITEM_BLOCK_SIZE)
                    self.put(collection, vectors[block], ids[block])
                self._client.flush(collection)
            for other in self._client.list_collections():
                if other != collection and re.fullmatch(f"{self._name}_[0-9a-f]{{16}}", other):
                    self._drop(other)
            self._client.load_collection(collection)
        self._collection, self._dim, self._size = collection, vectors.shape[1], len(ids)
        return self

    def begin(self, vectors: np.ndarray, ids: np.ndarray | None = None) -> str:
        """Makes the collection that `index` fills, for several processes to fill it with `put`."""
        vectors, ids = check_items(vectors, ids)
        # The name holds a fingerprint: the same vectors are found there and not sent again.
        fingerprint = hashlib.sha256(vectors.tobytes() + ids.tobytes() + b"FLAT").hexdigest()
        collection = f"{self._name}_{fingerprint[:16]}"
        with self._answering():
            if not self._holds(collection, len(ids)):
                self._drop(collection)
                types = self._milvus.DataType
                schema = self._client.create_schema(auto_id=False)
                schema.add_field("id", types.INT64, is_primary=True)
                schema.add_field("vector", types.FLOAT_VECTOR, dim=vectors.shape[1])
                params = self._client.prepare_index_params()
                params.add_index("vector", index_type="FLAT", metric_type="IP")
                self._client.create_collection(collection, schema=schema, index_params=params)
        return collection

    def put(self, collection: str, vectors: np.ndarray, ids: np.ndarray) -> None:
        """Sends some of the vectors; sent twice they are there once."""
        rows = [
            {"id": id_, "vector": vector} for id_, vector in zip(ids.tolist(), vectors, strict=True)
        ]
        with self._answering():
            self._client.upsert(collection, rows)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Index.search`, for k up to 16,384."""
        queries = check_queries(queries, k, self._dim)
        k = min(k, self._size)
        if k > _MOST_RESULTS:
            raise ValueError(f"Milvus finds at most {_MOST_RESULTS} items. Received: k={k}")
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids = np.full((len(queries), k), -1, np.int64)
        with self._answering():
            results = self._client.search(
                self._collection,
                data=list(queries),
                anns_field="vector",
                limit=k,
                output_fields=["id"],
                consistency_level="Strong",
            )
        for row, hits in enumerate(results):
            scores[row, : len(hits)] = [hit["distance"] for hit in hits]
            ids[row, : len(hits)] = [hit["id"] for hit in hits]
        return scores, ids

    def close(self) -> None:
        """Closes the connection, and with Milvus Lite the file."""
        self._client.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except self._milvus.MilvusException as error:
            raise ConnectionError(f"Milvus at {self._uri}: {error.message}") from error

    def _holds(self, collection: str, items: int) -> bool:
        if not self._client.has_collection(collection):
            return False
        # The statistics count vectors that were sent twice as two.
        self._client.load_collection(collection)
        (row,) = self._client.query(
            collection, output_fields=["count(*)"], consistency_level="Strong"
        )
        return row["count(*)"] == items

    def _drop(self, collection: str) -> None:
        if self._client.has_collection(collection):
            self._client.drop_collection(collection)


@contextmanager
def _reasons_of_milvus_lite() -> Iterator[list[str]]:
    """Keeps what Milvus Lite logs with a traceback, such as a file that another process holds."""
    reasons: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        if record.exc_info:
            reasons.append(" ".join(str(record.exc_info[1]).split()))
        return not record.exc_info

    logger = logging.getLogger("milvus_lite.server_manager")
    logger.addFilter(keep)
    try:
        yield reasons
    finally:
        logger.removeFilter(keep)
