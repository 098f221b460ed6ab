"""Time a training step waits for its batch, on a file of Flickr30K's size.

    python -m benchmarks.input_pipeline
    python -m benchmarks.input_pipeline --folder /data/bench --keep --step-seconds 3.5 --hdf5

Writes 29,000 x 36 x 2048 random numbers in float32 (8.5 GB) and takes batches while a step of fixed
work keeps all cores busy with matrix products: first from a file that is not in the page cache,
then the same rows again. Captions are tokenized without the token cache and with it.
"""

import json
import os
import shutil
import statistics
import tempfile
import time
import unittest.mock
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import rich
import tyro
from rich.table import Table

from benchmarks.machine import resident_memory
from hslm_tf.data import RetrievalDataset, load_dataset, load_sample

_CAPTIONS_PER_IMAGE = 5
_IMAGE_BLOCK_SIZE = 500
_MATRIX = 2048
# Batches that the pipeline may have ready in advance.
_WARM_UP = 4


@dataclass(frozen=True)
class Arguments:
    """Time a training step waits for its batch, on a file of Flickr30K's size."""

    images: int = 29_000
    """Images of 36 x 2048 float32."""

    batch_size: int = 128
    """Pairs of a batch."""

    step_seconds: float = 5.0
    """Time a step takes where nothing competes with it."""

    steps: int = 12
    """Steps to measure, after one that fills the pipeline."""

    hdf5: bool = False
    """Read an HDF5 file instead of a .npy file."""

    folder: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path(tempfile.gettempdir())
    """Where the file is made; one that an earlier run left is used again."""

    keep: bool = False
    """Leave the file for further runs."""


@dataclass(frozen=True)
class Waiting:
    """What the steps waited for their batches.

    Args:
        cache: `cold` or `warm`.
        waited: median seconds from asking for a batch to having it.
        longest: the longest of them.
        step: median seconds of a step's work beside the running pipeline.
        share: share of the whole time that was spent waiting.
        alone: median seconds of a batch where nothing competes with the pipeline.
        anonymous: largest growth of anonymous memory in MB.
        mapped: the same of mapped pages of files.
    """

    cache: str
    waited: float
    longest: float
    step: float
    share: float
    alone: float
    anonymous: float
    mapped: float


def write_features(arguments: Arguments) -> Path:
    """Writes random features and captions of the built-in sample, unless they are there already.

    Args:
        arguments: how many images, in which format and where.

    Returns:
        The data set: a folder, or an HDF5 file.
    """
    from hslm_tf.data.hdf5 import write_hdf5
    from hslm_tf.data.precomputed import write_precomputed

    random = np.random.default_rng(0)
    block = random.standard_normal((_IMAGE_BLOCK_SIZE, 36, 2048), np.float32)

    class Random:
        """Rows of a random block, each time with other factors."""

        shape = (arguments.images, 36, 2048)
        dtype = np.dtype(np.float32)

        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            factor = 1 + rows[:, None, None] / arguments.images
            return block[rows % _IMAGE_BLOCK_SIZE] * factor.astype(np.float32)

    name = f"hslm-input-{arguments.images}"
    target = arguments.folder / (f"{name}.h5" if arguments.hdf5 else name)
    if target.exists():
        return target
    captions = load_sample("train").captions
    count = arguments.images * _CAPTIONS_PER_IMAGE
    dataset = RetrievalDataset(
        "train",
        str(target),
        Random(),
        [captions[i % len(captions)] for i in range(count)],
        np.repeat(np.arange(arguments.images, dtype=np.int32), _CAPTIONS_PER_IMAGE),
    )
    draft = target.with_name(f"draft-{target.name}")
    write = write_hdf5
    if not arguments.hdf5:
        draft.mkdir(parents=True, exist_ok=True)
        write = write_precomputed
    write(dataset, draft, Random.dtype, lambda _: None)
    os.replace(draft, target)
    return target


def fixed_work(seconds: float) -> Callable[[], float]:
    """Makes matrix products that take some time on all cores.

    Args:
        seconds: how long they take where nothing competes with them.

    Returns:
        A function that works and returns the seconds that it took.
    """
    import tensorflow as tf

    matrix = tf.random.normal((_MATRIX, _MATRIX))

    @tf.function
    def multiply(times: tf.Tensor) -> tf.Tensor:
        total = 0.0
        for _ in tf.range(times):
            total += tf.matmul(matrix, matrix)[0, 0]
        return total

    def work(times: int) -> float:
        started = time.perf_counter()
        multiply(tf.constant(times)).numpy()
        return time.perf_counter() - started

    work(2)
    times = max(1, round(seconds * 50 / statistics.median(work(50) for _ in range(3))))
    return lambda: work(times)


def drop_from_cache(data: Path) -> None:
    """Drops a file, or all files of a folder, from the page cache."""
    os.sync()
    for path in data.iterdir() if data.is_dir() else [data]:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_waiting(
    data: Path,
    arguments: Arguments,
    work: Callable[[], float],
    before: tuple[float, float],
    cache: str,
) -> Waiting:
    """Takes batches and works, as training does.

    Args:
        data: the data set.
        arguments: sizes.
        work: does the work of a step, returns the seconds that it took.
        before: what `resident_memory` returned before anything was opened.
        cache: `cold` drops the file from the page cache first, `warm` reads the rows before.

    Returns:
        The measurement.
    """
    from hslm_tf.data.pipeline import training_batches
    from hslm_tf.text.tokenizer import CaptionTokenizer
    from hslm_tf.text.vocabulary import SPECIAL_WORDS

    dataset = load_dataset(data, "train")
    tokens = CaptionTokenizer(SPECIAL_WORDS).tokenize_all(dataset.captions)
    batches = training_batches(dataset, tokens, arguments.batch_size)
    count = min(arguments.steps, len(batches) - 1)
    if cache == "cold":
        drop_from_cache(data)
    waited, worked, held = [], [], []
    epoch = iter(batches)
    batch = next(epoch)
    for _ in range(count):
        worked.append(work())
        started = time.perf_counter()
        batch = next(epoch)
        waited.append(time.perf_counter() - started)
        held.append(resident_memory())
    del epoch, batch
    # The next pass of the pipeline is another epoch with other rows.
    if cache == "cold":
        drop_from_cache(data)
    alone = []
    epoch = iter(batches)
    for _ in range(count + _WARM_UP):
        started = time.perf_counter()
        next(epoch)
        alone.append(time.perf_counter() - started)
    return Waiting(
        cache,
        statistics.median(waited),
        max(waited),
        statistics.median(worked),
        sum(waited) / (sum(waited) + sum(worked)),
        statistics.median(alone[_WARM_UP:]),
        *1e3 * (np.max(held, axis=0) - before),
    )


def measure_tokens(captions: list[str]) -> dict[str, float]:
    """Tokenizes captions as for training, first without the cache and then from it.

    Args:
        captions: the captions.

    Returns:
        Seconds by what was done.
    """
    from hslm_tf.text.split_captions import cached_split
    from hslm_tf.text.tokenizer import CaptionTokenizer
    from hslm_tf.text.vocabulary import SPECIAL_WORDS

    tokenizer = CaptionTokenizer(SPECIAL_WORDS, 64)
    seconds = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        unittest.mock.patch.dict(os.environ, HSLM_TF_CACHE=folder),
    ):
        for name in ("tokenized", "cached"):
            started = time.perf_counter()
            tokenizer.ids_of_split(cached_split(captions))
            seconds[name] = time.perf_counter() - started
    return seconds


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.input_pipeline", args=args)
    data = write_features(arguments)
    try:
        work = fixed_work(arguments.step_seconds)
        before = resident_memory()
        rows = [measure_waiting(data, arguments, work, before, cache) for cache in ("cold", "warm")]
        captions = load_dataset(data, "train").captions
        tokens = measure_tokens(captions)
    finally:
        if not arguments.keep:
            shutil.rmtree(data) if data.is_dir() else data.unlink()
    table = Table(title=f"Input, {arguments.images} images, batch {arguments.batch_size}")
    for name in ("page cache", "waited", "longest", "step", "share", "alone", "RssAnon", "RssFile"):
        table.add_column(name, justify="right")
    for row in rows:
        times = (row.waited, row.longest, row.step)
        table.add_row(
            row.cache,
            *(f"{seconds:.4f} s" for seconds in times),
            f"{row.share:.2%}",
            f"{row.alone:.3f} s",
            f"{row.anonymous:+.0f} MB",
            f"{row.mapped:+.0f} MB",
        )
    rich.print(table)
    for name, seconds in tokens.items():
        print(f"{len(captions)} captions {name} in {seconds:.2f} s")
    print(json.dumps({"benchmark": "tokens", "captions": len(captions), **tokens}))
    print(*(json.dumps({"benchmark": "input", **asdict(row)}) for row in rows), sep="\n")


if __name__ == "__main__":
    main()
