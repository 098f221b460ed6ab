"""`python -m hslm_tf.beam`: a collection, encoded by many processes or machines."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from hslm_tf.command_line import command
from hslm_tf.extras import load_extra
from hslm_tf.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from hslm_tf.beam.photograph_source import PhotographSource
    from hslm_tf.beam.work_folder import Plan


@dataclass(frozen=True)
class BeamArguments:
    """Encode images of a split with Apache Beam, shard by shard, and make a collection of them.

    OUT gets the exported model, a file for every shard, rejected.jsonl with the images that could
    not be encoded and why, and collection.h5, which `python -m hslm_tf.search` opens. A killed
    run continues with the same command: finished shards are skipped. Options behind `--` are
    Beam's own, such as `-- --direct_num_workers 8 --direct_running_mode multi_processing`; without
    them everything runs in this process. Needs the extra `beam`.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directory of the run"""
    out: Annotated[str, tyro.conf.arg(metavar="OUT")]
    """folder to work in, which all workers see; a path, or an address such as gs://bucket/folder"""
    dataset: str | None = None
    """folder or HDF5 file, which all workers see; by default the one that the run was trained on"""
    split: str | None = None
    """split to encode; by default the run's test split"""
    photographs: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """folder of photographs to encode in place of a split, which all workers see; their features
    are made as those that the run learned from (extra `images`)"""
    backbone: str | None = None
    """for photographs: network that made the run's features, where it has moved"""
    weights: str | None = None
    """for photographs: file with the network's weights, where it has moved"""
    boxes: str | None = None
    """for photographs: detector or JSON of boxes, where it has moved, or lacks the photographs"""
    shard_size: int = 256
    """images of a shard; a worker holds one shard in memory"""
    dtype: Literal["float16", "float32"] = "float16"
    """type that local features are kept in"""
    collection: Annotated[Path | None, tyro.conf.arg(metavar="FILE.h5")] = None
    """where the collection goes; by default OUT/collection.h5; needed if OUT is an address"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the image files of the collection, for galleries; by default the run's"""
    shards_only: bool = False
    """make no collection of the shards"""
    milvus: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """send the vectors to Milvus: a file ending in .db, or http://host:port"""
    name: str = "hslm"
    """for Milvus: prefix of the names under which it stores vectors, as for a search"""
    overwrite: bool = False
    """replace a collection that is there already"""


def parse(args: Sequence[str]) -> tuple[BeamArguments, list[str]]:
    """Parses the command's arguments, and hands on what stands behind `--`."""
    end = args.index("--") if "--" in args else len(args)
    arguments = tyro.cli(BeamArguments, prog="python -m hslm_tf.beam", args=args[:end])
    return arguments, list(args[end + 1 :])


def run(parsed: tuple[BeamArguments, list[str]]) -> None:
    """Runs the command."""
    arguments, flags = parsed
    # A local run's error says everything; a cluster's job needs Beam's log, too.
    elsewhere = any(flag.startswith("--runner") for flag in flags)
    logging.getLogger().setLevel(logging.INFO if elsewhere else logging.CRITICAL)
    _check(arguments)
    run = RunDirectory(arguments.run)
    config = run.config()
    if arguments.dataset is not None:
        config = replace(config, data=replace(config.data, dataset=arguments.dataset))
    # TensorFlow and Beam take seconds to import: --help and mistakes should not wait.
    from hslm_tf.beam.collecting import collect, write_rejected
    from hslm_tf.beam.files import is_local
    from hslm_tf.beam.fill_milvus import fill_milvus
    from hslm_tf.beam.running import encode, pipeline_options
    from hslm_tf.beam.split_source import SplitSource
    from hslm_tf.beam.work_folder import Plan, WorkFolder
    from hslm_tf.fingerprint import model_fingerprint, weights_fingerprint
    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.runs.opening import load_heads, load_model
    from hslm_tf.runs.splits import dataset_path, open_split

    options = pipeline_options(flags)
    target = None if arguments.shards_only else _target(arguments)
    model = load_model(run.path)
    heads = load_heads(run.path, model)
    folder = WorkFolder(arguments.out)
    fingerprint = weights_fingerprint(heads.weights, model_fingerprint(model))
    settings = arguments.shard_size, arguments.dtype, fingerprint
    dataset, images = None, arguments.images
    if arguments.photographs is not None:
        source, plan = _photographs(arguments, run, *settings)
        if images is None and is_local(arguments.photographs):
            images = Path(arguments.photographs)
    else:
        split = arguments.split or config.data.test_split
        dataset = open_split(run, split, arguments.dataset, captions_optional=True)
        path = str(Path(dataset_path(config)).resolve())
        source = SplitSource(path, split)
        of_split = {"dataset": path, "split": split}
        plan = Plan(of_split, dataset.num_images, dataset.max_regions, *settings)
    encoded = encode(source, folder, plan, model, heads, options)
    print(f"{len(plan.shards)} shards, {len(encoded)} of them new: {folder.shards}")
    rejected = write_rejected(folder, plan)
    print(f"{plan.images - rejected} images encoded, {rejected} rejected: {folder.rejected}")
    if target is None:
        return
    items = collect(folder, plan, model, heads, dataset, target.parent)
    Collection(model, heads, items, images, run.path).save(target)
    if arguments.milvus is not None:
        name = f"{arguments.name}_images"
        fill_milvus(items.vectors, folder, plan, arguments.milvus, name, options)
    print(target)


def _check(arguments: BeamArguments) -> None:
    """Refuses mistakes, and options that would be ignored, before anything long is begun."""
    if arguments.shard_size < 1:
        raise ValueError(f"--shard-size is at least 1. Received: {arguments.shard_size}")
    if arguments.shards_only and (arguments.collection or arguments.images or arguments.milvus):
        raise ValueError("--collection, --images and --milvus are not for --shards-only")
    if arguments.images is not None and not arguments.images.is_dir():
        raise FileNotFoundError(f"{arguments.images}: there is no such folder")
    if arguments.photographs and (arguments.dataset or arguments.split):
        raise ValueError("--dataset and --split are not for --photographs")
    if not arguments.photographs and (arguments.backbone or arguments.weights or arguments.boxes):
        raise ValueError("--backbone, --weights and --boxes are for --photographs")
    load_extra("apache_beam", "beam")
    if arguments.milvus is not None:
        load_extra("pymilvus", "milvus")


def _photographs(
    arguments: BeamArguments, run: RunDirectory, *settings: object
) -> tuple["PhotographSource", "Plan"]:
    """Photographs as a source, and the plan of their shards."""
    from hslm_tf.beam.photograph_source import PhotographList, PhotographSource
    from hslm_tf.beam.work_folder import Plan, WorkFolder
    from hslm_tf.images.extraction_config import remembered_config
    from hslm_tf.images.extractor import RegionExtractor

    load_extra("PIL", "images")
    moved = arguments.backbone, arguments.weights, arguments.boxes
    extraction = remembered_config(run.extraction(), str(run.path), *moved)
    # Made here once, so that what is wrong is known before any worker begins.
    regions = RegionExtractor(extraction).max_regions
    work = WorkFolder(arguments.out)
    listed = PhotographList.of_folder(arguments.photographs, f"{work.path}/photographs.txt")
    of_photographs = {"photographs": listed.folder, "features": extraction.to_dict()}
    source = PhotographSource(listed, partial(RegionExtractor, extraction))
    return source, Plan(of_photographs, len(listed), regions, *settings)


def _target(arguments: BeamArguments) -> Path:
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


main = command("beam", run, parse=parse)


if __name__ == "__main__":
    main()
