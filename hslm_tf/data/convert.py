"""Makes a data set of captions and region features in any format, in bounded memory."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from hslm_tf.data.assembly import Layout
from hslm_tf.data.atomic_write import drafted, locked, naming
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import check_split
from hslm_tf.data.formats.features import images_of
from hslm_tf.data.formats.foreign import Foreign
from hslm_tf.data.formats.image import region_parts
from hslm_tf.data.hdf5 import write_hdf5
from hslm_tf.data.hdf5_rows import is_hdf5
from hslm_tf.data.loading import dataset_splits, load_dataset, located, no_splits
from hslm_tf.data.precomputed import precomputed_paths, take_places, write_precomputed
from hslm_tf.data.progress import ProgressBar

FeatureType = Literal["keep", "float32", "float16"]


class Source(NamedTuple):
    """A source of splits: their names, the format of each, and how it is opened."""

    splits: Sequence[str]
    kind: Callable[[str], str]
    open: Callable[[str], RetrievalDataset]


def open_source(
    path: str | os.PathLike[str],
    *,
    features: str | os.PathLike[str] | None = None,
    layout: Layout = "auto",
    restval: bool = False,
    captions_per_image: int | None = None,
    max_regions: int | None = None,
    images_alone: bool = False,
) -> Source:
    """Finds out what lies at a path, in the formats that `docs/data.md` lists."""
    path = located(path)
    if features is None and (splits := dataset_splits(path)):

        def load(split: str) -> RetrievalDataset:
            dataset = load_dataset(path, split, layout, images_alone, float64=True)
            if max_regions is None:
                return dataset
            parts = region_parts([*images_of(dataset)], max_regions)
            return replace(dataset, image_rows=None, **parts)

        form = "HDF5 by splits" if is_hdf5(path) else "precomputed"
        return Source(splits, lambda split: form, load)
    foreign = Foreign(
        path,
        None if features is None else Path(features),
        restval=restval,
        captions_per_image=captions_per_image,
        max_regions=max_regions,
    )
    if not foreign.splits:
        raise no_splits(path)
    return Source(foreign.splits, foreign.kind, partial(foreign.open, images_alone=images_alone))


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    splits: Sequence[str] = (),
    dtype: FeatureType = "keep",
    overwrite: bool = False,
    progress: bool = True,
    **options: object,
) -> list[Path]:
    """Writes the splits of a source, read with the options of `open_source`, one row per image."""
    target = Path(target)
    for path in (source, options.get("features")):
        if path is not None and Path(path).resolve() == target.resolve():
            raise DataError(f"{target} is the source itself: name another target")
    opened = open_source(source, **options)
    splits = [check_split(split, str(source)) for split in splits or opened.splits]
    for split in splits:
        if split not in opened.splits:
            raise DataError(f"{source} has no split {split!r}; it has {', '.join(opened.splits)}")
    folder, write = (target.parent, write_hdf5) if is_hdf5(target) else (target, write_precomputed)
    names = [path.name for path in _target_files(target, splits)]
    _check_new(folder, names, overwrite)
    datasets = [opened.open(split) for split in splits]
    folder.mkdir(parents=True, exist_ok=True)
    # No file appears under its name before all of them are complete.
    with drafted(target, folder) as work, naming(target, work):
        work.mkdir()
        staged = work / target.name if is_hdf5(target) else work
        total = sum(dataset.num_images for dataset in datasets)
        with ProgressBar(total, "images", shown=progress) as bar:
            for dataset in datasets:
                bar.set_description(dataset.name)
                write(dataset, staged, _feature_type(dtype, dataset), bar.update)
        written = [name for name in names if (work / name).exists()]
        with locked(folder, None):
            # Another process may have written there meanwhile.
            _check_new(folder, names, overwrite)
            try:
                take_places(work, folder, names, written)
            except KeyboardInterrupt:
                # The draft is removed at the end, and what it replaces is gone already.
                take_places(work, folder, names, written)
                raise
    return [folder / name for name in written]


def _check_new(folder: Path, names: Sequence[str], overwrite: bool) -> None:
    old = [folder / name for name in names if (folder / name).exists()]
    if old and not overwrite:
        raise DataError(f"{', '.join(map(str, old))} already there: overwrite was not asked for")
    for path in old:
        if path.is_dir():
            raise DataError(f"{path} is a folder, expected a file to replace, or none")


def _feature_type(dtype: FeatureType, dataset: RetrievalDataset) -> np.dtype:
    if dtype != "keep":
        return np.dtype(dtype)
    return np.dtype(np.float16 if dataset.region_features.dtype.itemsize == 2 else np.float32)


def _target_files(target: Path, splits: Sequence[str]) -> list[Path]:
    if is_hdf5(target):
        return [target]
    return [path for split in splits for path in precomputed_paths(target, split).values()]
