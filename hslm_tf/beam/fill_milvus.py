"""The pipeline that indexes: vectors of finished shards to Milvus, from all workers at once."""

from typing import NamedTuple

import apache_beam as beam
import numpy as np

from hslm_tf.beam.shard_file import read_shard
from hslm_tf.retrieval.indexes.milvus_index import MilvusIndex


class ShardRows(NamedTuple):
    """A shard's place in a collection."""

    path: str
    first: int


class FillMilvus(beam.PTransform):
    """Sends the vectors of shards to Milvus."""

    def __init__(self, uri: str, name: str, collection: str) -> None:
        super().__init__()
        self._arguments = uri, name, collection

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """Builds the steps."""
        return shards | "Spread" >> beam.Reshuffle() | "Put" >> beam.ParDo(_Put(*self._arguments))


class _Put(beam.DoFn):
    def __init__(self, uri: str, name: str, collection: str) -> None:
        super().__init__()
        self._uri, self._name, self._collection = uri, name, collection

    def setup(self) -> None:
        self._index = MilvusIndex(self._uri, self._name)

    def process(self, shard: ShardRows) -> list[int]:
        vectors = read_shard(shard.path, ["vectors"])["vectors"]
        if len(vectors):
            ids = np.arange(shard.first, shard.first + len(vectors))
            self._index.put(self._collection, vectors, ids)
        return [len(vectors)]

    def teardown(self) -> None:
        self._index.close()
