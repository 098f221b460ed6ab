"""The pipeline that indexes: vectors of finished shards to Milvus, from all workers at once."""

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from hslm_tf.beam.files import read_shard
from hslm_tf.beam.running import run_pipeline
from hslm_tf.beam.work_folder import Plan, WorkFolder
from hslm_tf.retrieval.indexes.milvus_index import MilvusIndex


def fill_milvus(
    vectors: np.ndarray,
    folder: WorkFolder,
    plan: Plan,
    uri: str,
    name: str,
    options: PipelineOptions | None = None,
) -> None:
    """Sends vectors of finished shards to Milvus, where a search of the collection finds them."""
    index = MilvusIndex(uri, name)
    try:
        collection = index.begin(vectors)
        paths = [folder.file_of(shard) for shard in plan.shards]
        counts = [len(read_shard(path, ["rows"])["rows"]) for path in paths]
        firsts = (np.cumsum(counts) - counts).tolist()
        shards = list(zip(paths, firsts, strict=True))

        def build(pipeline: beam.Pipeline) -> object:
            spread = pipeline | beam.Create(shards) | "Spread" >> beam.Reshuffle()
            return spread | "Put" >> beam.ParDo(_Put(uri, name, collection))

        # Only one process can write to a file.
        run_pipeline(build, options if "://" in uri else None)
        # Sends nothing where all vectors are there.
        index.index(vectors)
    finally:
        index.close()


class _Put(beam.DoFn):
    """Sends the vectors of a shard; an element is its file and the row of its first image."""

    def __init__(self, uri: str, name: str, collection: str) -> None:
        super().__init__()
        self._uri, self._name, self._collection = uri, name, collection

    def setup(self) -> None:
        self._index = MilvusIndex(self._uri, self._name)

    def process(self, shard: tuple[str, int]) -> None:
        path, first = shard
        vectors = read_shard(path, ["vectors"])["vectors"]
        if len(vectors):
            self._index.put(self._collection, vectors, np.arange(first, first + len(vectors)))

    def teardown(self) -> None:
        self._index.close()
