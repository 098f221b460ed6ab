"""Runs the pipelines and waits for them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from hslm_tf.beam.elements import Shard
from hslm_tf.beam.encode_shards import EncodeShards, Source
from hslm_tf.beam.work_folder import Plan, WorkFolder
from hslm_tf.data.progress import ProgressBar
from hslm_tf.models.hslm import HSLM
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
    """Encodes the shards that are not finished, and returns them."""
    shards = folder.begin(plan, model, heads)
    if shards:
        encoding = EncodeShards(source, folder.model, folder.shards, plan.dtype)
        with _progress(folder, plan):
            run_pipeline(lambda pipeline: pipeline | beam.Create(shards) | encoding, options)
    if missing := folder.missing(plan):
        raise PipelineError(
            f"{folder.shards} lacks {len(missing)} shards, such as {missing[0].file_name}"
        )
    return shards


def pipeline_options(flags: Sequence[str] = ()) -> PipelineOptions:
    """Reads Beam's options; without a runner, everything runs in this process."""
    options = PipelineOptions(list(flags))
    if options.view_as(StandardOptions).runner is None:
        # By default Beam would try to download another runner first.
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
    except Exception as error:  # Every runner wraps the errors of steps.
        raise PipelineError(f"the pipeline failed: {_in_one_line(error)}") from error
    if state != PipelineState.DONE:
        raise PipelineError(f"the pipeline ended as {state}")


def _in_one_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    # For a step in another process, Beam gives the whole traceback; its last line is the error.
    if lines[0].startswith("Traceback"):
        return lines[-1].strip()
    return f"{type(error).__name__}: {lines[0]}"


@contextmanager
def _progress(folder: WorkFolder, plan: Plan) -> Iterator[None]:
    """Shows how many shards are finished, with every runner."""
    ended = threading.Event()

    def look() -> None:
        last, pause = False, 0.0
        with ProgressBar(len(plan.shards), "shards") as bar:
            while not last:
                last = ended.wait(pause)
                began = time.monotonic()
                bar.update(bar.total - len(folder.missing(plan)) - bar.n)
                # A bucket with many files takes long to list.
                pause = max(_LOOK_EVERY_SECONDS, 10 * (time.monotonic() - began))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
