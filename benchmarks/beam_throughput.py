"""Images a second through `hslm_tf.beam` on this machine, beside the same work without Beam.

    python -m benchmarks.beam_throughput --dataset data/flickr8k
    python -m benchmarks.beam_throughput --dataset random --preset flickr30k --images 1000

Region features of a split are repeated to as many images as are asked for. Weights are random,
because the time does not depend on them. Every row is measured in a process of its own. `start` is
the time until every worker has written a shard, its imports and its model included; the rate is
that of the other shards. Prints a table, and with --out appends JSON
lines to a file. Needs the extra `beam`, and with --milvus `milvus`.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from benchmarks.machine import peak_memory
from benchmarks.rows import print_rows
from hslm_tf.command_line import load_extra, one_line_errors

if TYPE_CHECKING:
    from hslm_tf.beam.work_folder import Plan, WorkFolder
    from hslm_tf.models.hslm import HSLM
    from hslm_tf.retrieval.projection_heads import ProjectionHeads

_ROW_BLOCK_SIZE = 500
_SPLIT = "repeated"
_PHOTOGRAPHS = 256


@dataclass(frozen=True)
class Arguments:
    """Images a second through `hslm_tf.beam`, beside the same work without Beam."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr8k"
    """configuration whose sizes are taken"""
    dataset: str = "sample"
    """folder or HDF5 file whose features are repeated; `sample`, or `random` for drawn ones"""
    split: str = "train"
    """split of the dataset"""
    images: int = 10_000
    """images to encode"""
    shard_size: int = 256
    """images of a shard"""
    dtype: Literal["float16", "float32"] = "float16"
    """type that local features are kept in"""
    workers: tuple[int, ...] = (1, 2)
    """numbers of worker processes; 1 is this process itself"""
    dim: int = 256
    """width of the vectors of the projection heads"""
    milvus: bool = False
    """send the vectors to Milvus Lite, too"""
    photographs: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder of JPEG files: measures decoding and a backbone, too"""
    folder: Path | None = None
    """where features and shards are written; by default the temporary folder"""
    out: Path | None = None
    """file to append JSON lines to"""


def measure(arguments: Arguments) -> list[dict]:
    """Measures every way of encoding.

    Args:
        arguments: what to measure.

    Returns:
        A row for each way, and one for what follows.
    """
    load_extra("apache_beam", "beam")
    if arguments.milvus:
        load_extra("pymilvus", "milvus")
    if arguments.images <= arguments.shard_size * max(arguments.workers):
        raise ValueError("--images has to be more than a shard for every worker")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        folder = Path(folder)
        _in_another_process(_write_features, arguments, folder)
        rows = [_in_another_process(_without_beam, arguments, folder)]
        for workers in arguments.workers:
            rows.append(_in_another_process(_with_beam, arguments, folder, workers))
        last = folder / f"{arguments.workers[-1]}"
        rows.append(_in_another_process(_afterwards, arguments, last))
        if arguments.photographs is not None:
            rows += _in_another_process(_photographs, arguments.photographs)
        return rows


def _in_another_process(function: Callable, *arguments: object) -> Any:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def _write_features(arguments: Arguments, folder: Path) -> dict:
    from hslm_tf.data import load_dataset, load_sample
    from hslm_tf.data.npy import write_array
    from hslm_tf.presets import preset

    config = preset(arguments.preset).model
    if arguments.dataset == "random":
        rng = np.random.default_rng(0)
        shape = (_ROW_BLOCK_SIZE, config.max_regions, config.region_dim)
        pool = rng.standard_normal(shape, np.float32)
    else:
        from_files = arguments.dataset != "sample"
        split = (
            load_dataset(arguments.dataset, arguments.split, captions_optional=True)
            if from_files
            else load_sample(arguments.split)
        )
        pool = split.read_images(np.arange(min(split.num_images, arguments.images)))[0]
    starts = range(0, arguments.images, _ROW_BLOCK_SIZE)
    numbers = (np.arange(s, min(s + _ROW_BLOCK_SIZE, arguments.images)) for s in starts)
    blocks = (pool[block % len(pool)] for block in numbers)
    shape = (arguments.images, *pool.shape[1:])
    write_array(folder / f"{_SPLIT}_ims.npy", shape, np.dtype(np.float32), blocks)
    return {}


def _model(arguments: Arguments) -> "tuple[HSLM, ProjectionHeads]":
    import keras

    from benchmarks.training_step import random_words
    from hslm_tf.models.hslm import HSLM
    from hslm_tf.presets import preset
    from hslm_tf.retrieval.projection_heads import new_heads

    keras.utils.set_random_seed(0)
    config = preset(arguments.preset).model
    return HSLM(config, random_words()), new_heads(config.joint_dim, arguments.dim)


def _without_beam(arguments: Arguments, folder: Path) -> dict:
    """What `python -m hslm_tf.index` does with the images, into a temporary file."""
    from hslm_tf.data import load_dataset
    from hslm_tf.retrieval.encodings import ImageEncodings

    model, heads = _model(arguments)
    dataset = load_dataset(folder, _SPLIT, captions_optional=True)

    def encode(images: np.ndarray) -> None:
        encodings = ImageEncodings.encode(
            model, dataset, images, arguments.dtype, memmap_dir=folder
        )
        encodings.vectors(heads)

    numbers = np.arange(arguments.images)
    start = _seconds(lambda: encode(numbers[: arguments.shard_size]))
    rest = _seconds(lambda: encode(numbers[arguments.shard_size :]))
    row = {"what": "encode, without Beam", "start_s": start}
    row |= _rate(rest, arguments.images - arguments.shard_size)
    return row | {"peak_GB": peak_memory()}


def _with_beam(arguments: Arguments, folder: Path, workers: int) -> dict:
    from hslm_tf.beam.running import encode, pipeline_options
    from hslm_tf.beam.split_source import SplitSource

    flags = ["--direct_num_workers", str(workers), "--direct_running_mode", "multi_processing"]
    options = pipeline_options(flags if workers > 1 else [])
    model, heads = _model(arguments)
    source = SplitSource(str(folder), _SPLIT)

    out = folder / f"{workers}"
    work, plan = _plan(arguments, out)
    work.begin(plan, model, heads)
    began = time.time()
    encode(source, work, plan, model, heads, options)
    # Every worker has its model once so many shards are there.
    ended = sorted(path.stat().st_mtime for path in (out / "shards").iterdir())
    start, whole = ended[workers - 1] - began, ended[-1] - began
    row = {"what": f"encode, Beam, {workers} process{'es' * (workers > 1)}", "start_s": start}
    row |= _rate(whole - start, arguments.images - arguments.shard_size * workers)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    return row | {"peak_GB": max(peak_memory(), children)}


def _afterwards(arguments: Arguments, out: Path) -> dict:
    """The collection of the shards, and their vectors in Milvus."""
    from hslm_tf.beam.collecting import collect
    from hslm_tf.beam.fill_milvus import fill_milvus
    from hslm_tf.retrieval.collection import Collection

    model, heads = _model(arguments)
    work, plan = _plan(arguments, out)
    collected = []

    def save() -> None:
        collected.append(collect(work, plan, model, heads))
        Collection(model, heads, collected[0]).save(out / "collection.h5")

    row = {"what": "collection of the shards"} | _rate(_seconds(save), arguments.images)
    shards = sum(path.stat().st_size for path in (out / "shards").iterdir())
    row |= {"shard_bytes_an_image": shards / arguments.images}
    if arguments.milvus:
        vectors, uri = collected[0].vectors, str(out / "a.db")
        seconds = _seconds(lambda: fill_milvus(vectors, work, plan, uri, "bench"))
        row |= {"milvus_vectors_a_second": len(vectors) / seconds}
    return row | {"peak_GB": peak_memory()}


def _photographs(folder: Path) -> list[dict]:
    """What features cost before anything is encoded, with a network of moderate size."""
    import keras

    from hslm_tf.images.extraction_config import ExtractionConfig
    from hslm_tf.images.extractor import PHOTOGRAPHS_AT_ONCE, RegionExtractor
    from hslm_tf.images.photographs import decode_photograph

    side = 384
    paths = sorted(folder.glob("*.jpg"))[:_PHOTOGRAPHS]
    if not paths:
        raise FileNotFoundError(f"{folder} holds no *.jpg")
    with tempfile.TemporaryDirectory() as temporary:
        network = Path(temporary) / "network.keras"
        # Random weights take as long as others. The network scales pixels itself.
        keras.applications.EfficientNetB0(include_top=False, weights=None).save(network)
        extractor = RegionExtractor(ExtractionConfig(str(network), size=side))
    images = [decode_photograph(path.read_bytes()) for path in paths]
    extractor.extract(images[:PHOTOGRAPHS_AT_ONCE])
    decoding = _seconds(lambda: [decode_photograph(path.read_bytes()) for path in paths])
    extracting = _seconds(lambda: extractor.extract(images))
    return [
        {"what": "decode"} | _rate(decoding, len(paths)),
        {"what": f"EfficientNetB0, {side} x {side}, and regions"} | _rate(extracting, len(paths)),
    ]


def _plan(arguments: Arguments, out: Path) -> "tuple[WorkFolder, Plan]":
    from hslm_tf.beam.work_folder import Plan, WorkFolder
    from hslm_tf.presets import preset

    regions = preset(arguments.preset).model.max_regions
    sizes = arguments.images, regions, arguments.shard_size
    plan = Plan({}, *sizes, arguments.dtype, "random weights")
    return WorkFolder(str(out)), plan


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _rate(seconds: float, images: int) -> dict:
    return {"images": images, "seconds": seconds, "images_a_second": images / seconds}


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.beam_throughput", args=args)
    with one_line_errors():
        print_rows(measure(arguments), arguments.out)


if __name__ == "__main__":
    main()
