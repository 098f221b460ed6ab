"""Runs the pipelines and waits for them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState
from tqdm import tqdm

from hslm_tf.beam.elements import Shard
from hslm_tf.beam.encode_shards import EncodeShards, Source
from hslm_tf.beam.files import file_sizes
from hslm_tf.beam.fill_milvus import FillMilvus, ShardRows
from hslm_tf.beam.shard_file import read_shard
from hslm_tf.beam.work_folder import Plan, WorkFolder
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.indexes.milvus_index import MilvusIndex
from hslm_tf.retrieval.projection_heads import ProjectionHeads

_LOOK_EVERY_SECONDS = 2.0


class PipelineError(ValueError):
    """A pipeline that did not come to its end."""


def encode(
    source: Source,
    folder: WorkFolder,
    plan: Plan,
    model: HSLM,
    heads: ProjectionHeads,
    options: PipelineOptions | None = None,
) -> list[Shard]:
    """Encodes the shards that are not finished."""
    shards = folder.begin(plan, model, heads)
    if shards:
        with _progress(folder, len(plan.shards)):
            run_pipeline(
                lambda pipeline: (
                    pipeline
                    | beam.Create(shards)
                    | EncodeShards(source, folder.model, folder.shards, plan.dtype)
                ),
                options,
            )
    finished = file_sizes(folder.shards)
    if missing := [shard for shard in shards if folder.file_of(shard) not in finished]:
        raise PipelineError(
            f"{folder.shards} lacks {len(missing)} shards, such as {missing[0].file_name}"
        )
    return shards


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
        places = [ShardRows(*place) for place in zip(paths, firsts, strict=True)]
        run_pipeline(
            lambda pipeline: pipeline | beam.Create(places) | FillMilvus(uri, name, collection),
            options if "://" in uri else None,
        )
        # Sends nothing where all vectors are there.
        index.index(vectors)
    finally:
        index.close()


def pipeline_options(flags: Sequence[str] = ()) -> PipelineOptions:
    """Reads Beam's options."""
    options = PipelineOptions(list(flags))
    if options.view_as(StandardOptions).runner is None:
        # Beam's own choice would try to download another runner first.
        options.view_as(StandardOptions).runner = "FnApiRunner"
        # Other runners have options that Beam does not know of; here it would ignore a misprint.
        known = options.get_all_options()
        if unknown := options.get_all_options(retain_unknown_options=True).keys() - known.keys():
            raise ValueError(f"Beam has no option --{min(unknown)}")
    # A bucket's address may need them before there is a pipeline.
    FileSystems.set_options(options)
    return options


def run_pipeline(
    build: Callable[[beam.Pipeline], object], options: PipelineOptions | None = None
) -> None:
    """Runs a pipeline to its end."""
    pipeline = beam.Pipeline(options=options or pipeline_options())
    build(pipeline)
    try:
        result = pipeline.run()
        state = result.wait_until_finish() or result.state
    except Exception as error:  # Whatever a step raises, as every runner wraps it.
        raise PipelineError(f"the pipeline failed: {_in_one_line(error)}") from error
    if state != PipelineState.DONE:
        raise PipelineError(f"the pipeline ended as {state}")


def _in_one_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    # Beam gives the whole traceback of a step in another process; its last line is the error.
    if lines[0].startswith("Traceback"):
        return lines[-1].strip()
    return f"{type(error).__name__}: {lines[0]}"


@contextmanager
def _progress(folder: WorkFolder, total: int) -> Iterator[None]:
    """Shows how many shards are finished, whatever runner makes them."""
    ended = threading.Event()

    def look() -> None:
        pause = 0.0
        with tqdm(total=total, unit=" shards", disable=None) as bar:
            while True:
                last = ended.wait(pause)
                began = time.monotonic()
                files = (FileSystems.split(path)[1] for path in file_sizes(folder.shards))
                bar.update(sum(name.startswith("shard-") for name in files) - bar.n)
                if last:
                    return
                # A bucket with many files takes long to list.
                pause = max(_LOOK_EVERY_SECONDS, 10 * (time.monotonic() - began))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
