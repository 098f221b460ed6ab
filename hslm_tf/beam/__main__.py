"""`python -m hslm_tf.beam`: a collection, encoded by many processes or machines."""

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from hslm_tf.command_line import command, load_extra
from hslm_tf.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from hslm_tf.beam.photograph_source import PhotographSource
    from hslm_tf.beam.split_source import SplitSource
    from hslm_tf.data.dataset import RetrievalDataset


@dataclass(frozen=True)
class _RunArguments:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directory of the run"""


@dataclass(frozen=True)
class _FolderArguments(_RunArguments):
    photographs: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PHOTOGRAPHS")]
    """folder of photographs, which all workers see"""


@dataclass(frozen=True)
class _WorkArguments:
    out: Annotated[str, tyro.conf.arg(metavar="OUT")]
    """folder to work in, which all workers see; a path, or an address such as gs://bucket/folder"""
    shard_size: int = 256
    """images of a shard; a worker holds one shard in memory"""
    dtype: Literal["float16", "float32"] = "float16"
    """type that local features are kept in"""
    collection: Annotated[Path | None, tyro.conf.arg(metavar="FILE.h5")] = None
    """where the collection goes; by default OUT/collection.h5; needed if OUT is an address"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the photographs of the collection, for galleries"""
    shards_only: bool = False
    """make no collection of the shards"""
    milvus: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """send the vectors to Milvus: a file ending in .db, or http://host:port"""
    name: str = "hslm"
    """for Milvus: prefix of the names under which it stores vectors, as for a search"""
    overwrite: bool = False
    """replace a collection that is there already"""
    flags: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="-- BEAM_FLAGS")
    ] = ()
    """Beam's own options, such as -- --direct_num_workers 8 --direct_running_mode multi_processing;
    without them everything runs in this process"""


@dataclass(frozen=True)
class SplitArguments(_WorkArguments, _RunArguments):
    """Encode images of a split shard by shard, and make a collection; needs no name: `beam RUN`.

    OUT gets the exported model, a file for every shard, rejected.jsonl with the images that could
    not be encoded and why, and collection.h5, which `python -m hslm_tf.search` opens. A killed
    run continues with the same command: finished shards are skipped. Needs the extra `beam`.
    """

    dataset: str | None = None
    """folder or HDF5 file, which all workers see; by default the one that the run was trained on"""
    split: str | None = None
    """split to encode; by default the run's test split"""


@dataclass(frozen=True)
class PhotographsArguments(_WorkArguments, _FolderArguments):
    """Encode photographs, whose features are made as those that the run learned from.

    As for a split otherwise. Needs the extras `beam` and `images`.
    """

    backbone: str | None = None
    """network that made the run's features, where it has moved"""
    weights: str | None = None
    """file with the network's weights, where it has moved"""
    boxes: str | None = None
    """detector or JSON of boxes, where it has moved, or lacks the photographs"""


def split(arguments: SplitArguments) -> None:
    """Runs `split`."""
    checked = _checked(arguments)
    run = RunDirectory(arguments.run)
    config = run.config()
    if arguments.dataset is not None:
        config = replace(config, data=replace(config.data, dataset=arguments.dataset))
    name = arguments.split or config.data.test_split
    # TensorFlow and Beam take seconds to import: --help and mistakes should not wait.
    from hslm_tf.beam.split_source import SplitSource
    from hslm_tf.data.loading import located
    from hslm_tf.runs.splits import open_split

    dataset = open_split(run, name, arguments.dataset, captions_optional=True)
    path = str(located(config.data.dataset).resolve())
    of_split = {"dataset": path, "split": name}
    planned = of_split, dataset.num_images, dataset.max_regions
    _encode(arguments, *checked, SplitSource(path, name), planned, arguments.images, dataset)


def photographs(arguments: PhotographsArguments) -> None:
    """Runs `photographs`."""
    load_extra("PIL", "images")
    checked = _checked(arguments)
    run = RunDirectory(arguments.run)
    from hslm_tf.beam.files import is_local
    from hslm_tf.beam.photograph_source import PhotographList, PhotographSource
    from hslm_tf.beam.work_folder import WorkFolder
    from hslm_tf.images.extraction_config import remembered_config
    from hslm_tf.images.extractor import RegionExtractor

    moved = arguments.backbone, arguments.weights, arguments.boxes
    extraction = remembered_config(run.extraction(), str(run.path), *moved)
    # Made here once, so that what is wrong is known before any worker begins.
    regions = RegionExtractor(extraction).max_regions
    work = WorkFolder(arguments.out)
    listed = PhotographList.of_folder(arguments.photographs, f"{work.path}/photographs.txt")
    of_photographs = {"photographs": listed.folder, "features": extraction.to_dict()}
    source = PhotographSource(listed, partial(RegionExtractor, extraction))
    images = arguments.images
    if images is None and is_local(arguments.photographs):
        images = Path(arguments.photographs)
    _encode(arguments, *checked, source, (of_photographs, len(listed), regions), images)


def _checked(arguments: _WorkArguments) -> "tuple[PipelineOptions, Path | None]":
    """Beam's options and the collection's file; refuses mistakes before anything long is begun."""
    # A local run's error says everything; a cluster's job needs Beam's log, too.
    elsewhere = any(flag.startswith("--runner") for flag in arguments.flags)
    logging.getLogger().setLevel(logging.INFO if elsewhere else logging.CRITICAL)
    if arguments.shard_size < 1:
        raise ValueError(f"--shard-size is at least 1. Received: {arguments.shard_size}")
    if arguments.shards_only and (arguments.collection or arguments.images or arguments.milvus):
        raise ValueError("--collection, --images and --milvus are not for --shards-only")
    if arguments.images is not None and not arguments.images.is_dir():
        raise FileNotFoundError(f"{arguments.images}: there is no such folder")
    load_extra("apache_beam", "beam")
    if arguments.milvus is not None:
        load_extra("pymilvus", "milvus")
    RunDirectory(arguments.run).config()
    from hslm_tf.beam.running import pipeline_options

    options = pipeline_options(list(arguments.flags))
    return options, None if arguments.shards_only else _target(arguments)


def _encode(
    arguments: _WorkArguments,
    options: "PipelineOptions",
    target: Path | None,
    source: "SplitSource | PhotographSource",
    planned: tuple[dict, int, int],
    images: Path | None,
    dataset: "RetrievalDataset | None" = None,
) -> None:
    """Encodes what a source reads, and makes the collection of it."""
    from hslm_tf.beam.collecting import collect, write_rejected
    from hslm_tf.beam.fill_milvus import fill_milvus
    from hslm_tf.beam.running import encode
    from hslm_tf.beam.work_folder import Plan, WorkFolder
    from hslm_tf.fingerprint import model_fingerprint, weights_fingerprint
    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.runs.opening import load_heads, load_model

    model = load_model(arguments.run)
    heads = load_heads(arguments.run, model)
    folder = WorkFolder(arguments.out)
    fingerprint = weights_fingerprint(heads.weights, model_fingerprint(model))
    plan = Plan(*planned, arguments.shard_size, arguments.dtype, fingerprint)
    with folder.locked():
        encoded = encode(source, folder, plan, model, heads, options)
        print(f"{len(plan.shards)} shards, {len(encoded)} of them new: {folder.shards}")
        rejected = write_rejected(folder, plan)
        print(f"{plan.images - rejected} images encoded, {rejected} rejected: {folder.rejected}")
        if target is None:
            return
        items = collect(folder, plan, model, heads, dataset, target.parent)
        Collection(model, heads, items, images, arguments.run).save(target)
        if arguments.milvus is not None:
            name = f"{arguments.name}_images"
            fill_milvus(items.vectors, folder, plan, arguments.milvus, name, options)
        print(target)


def _target(arguments: _WorkArguments) -> Path:
    """The collection's file, or an error before anything long is begun."""
    from hslm_tf.beam.files import is_local

    target = arguments.collection
    if target is None and not is_local(arguments.out):
        raise ValueError("--collection FILE.h5 says where the collection goes: OUT is an address")
    if target is None:
        Path(arguments.out).mkdir(parents=True, exist_ok=True)
        target = Path(arguments.out) / "collection.h5"
    if target.exists() and not arguments.overwrite:
        raise FileExistsError(f"{target} exists already: --overwrite replaces it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no such folder")
    return target


main = command("beam", split, photographs)


if __name__ == "__main__":
    main()
