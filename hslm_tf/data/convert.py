"""From any of the formats to any other, in bounded memory."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from hslm_tf.data.assembly import Layout
from hslm_tf.data.atomic_write import naming
from hslm_tf.data.bottom_up_tsv import tsv_paths, write_bottom_up_tsv, write_lxmert_tsv
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import check_split
from hslm_tf.data.hdf5 import write_hdf5
from hslm_tf.data.hdf5_rows import is_hdf5
from hslm_tf.data.image_file_writer import image_file_paths, write_image_files
from hslm_tf.data.loading import find_splits, open_split
from hslm_tf.data.options import ReadOptions
from hslm_tf.data.precomputed import precomputed_paths, write_precomputed
from hslm_tf.data.root_hdf5_writer import root_hdf5_paths, write_root_hdf5

FolderFormat = Literal["precomputed", "tsv", "lxmert", "npz", "vqa"]
FeatureType = Literal["keep", "float32", "float16"]

_WRITERS = {
    "precomputed": (precomputed_paths, write_precomputed),
    "tsv": (tsv_paths, write_bottom_up_tsv),
    "lxmert": (tsv_paths, write_lxmert_tsv),
    "npz": (image_file_paths, write_image_files),
    "vqa": (root_hdf5_paths, write_root_hdf5),
}
# The only type of these.
_FLOAT32 = (write_bottom_up_tsv, write_lxmert_tsv)


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    folder_format: FolderFormat = "precomputed",
    splits: Sequence[str] = (),
    layout: Layout = "auto",
    dtype: FeatureType = "keep",
    overwrite: bool = False,
    progress: bool = True,
    options: ReadOptions | None = None,
) -> list[Path]:
    """Copies splits into another format, one row per image.

    Everything is written to a temporary folder beside the target and renamed at the end: an
    error or an interruption leaves the target as it was.

    Args:
        source: a file or folder in any format that `load_dataset` reads.
        target: a file ending in `.h5` or `.hdf5` for HDF5, else a folder.
        folder_format: format of a target folder.
        splits: splits to copy; none means all that are found.
        layout: layout of the source, as for `load_precomputed`.
        dtype: type of the region features; `keep` is the source's, and float32 for TSV and where
            the source is float64.
        overwrite: whether to replace what stands there: the whole HDF5 file, or all files of the
            splits.
        progress: whether to show a progress bar.
        options: how the source is read, in place of `layout`.

    Returns:
        The files written.

    Raises:
        DataError: if the source is broken or is the target, or the target exists and `overwrite` is
            False.
        OSError: if the target cannot be written.
    """
    source, target = Path(source), Path(target)
    options = replace(options or ReadOptions(layout), float64=True)
    if target.resolve() in {path.resolve() for path in (source, options.features) if path}:
        raise DataError(f"{target} is the source itself: name another target")
    splits = [check_split(split, str(source)) for split in splits or find_splits(source, options)]
    datasets = [open_split(source, split, options) for split in splits]
    folder = target.parent if is_hdf5(target) else target
    taken = _files_there(target, splits)
    if taken and not overwrite:
        raise DataError(
            f"{', '.join(str(path) for path in taken)} already there: overwrite was not asked for"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with naming(target), tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as staging:
        staged = Path(staging) / target.name if is_hdf5(target) else Path(staging)
        write = write_hdf5 if is_hdf5(target) else _WRITERS[folder_format][1]
        total = sum(dataset.num_images for dataset in datasets)
        with tqdm(total=total, unit="image", disable=not progress) as bar:
            for dataset in datasets:
                bar.set_description(dataset.name)
                write(
                    dataset,
                    staged,
                    _feature_type(dtype, dataset.region_features, write),
                    bar.update,
                )
        return _move(_target_files(staged, folder_format, splits), folder, taken)


def _feature_type(dtype: FeatureType, regions: object, write: object) -> np.dtype:
    if dtype != "keep":
        return np.dtype(dtype)
    if write in _FLOAT32:
        return np.dtype(np.float32)
    return np.dtype(np.float16 if regions.dtype.itemsize == 2 else np.float32)


def _target_files(target: Path, folder_format: FolderFormat, splits: Sequence[str]) -> list[Path]:
    if is_hdf5(target):
        return [target]
    paths_of = _WRITERS[folder_format][0]
    return [path for split in splits for path in paths_of(target, split).values()]


def _files_there(target: Path, splits: Sequence[str]) -> list[Path]:
    # Files of all folder formats count: a folder that holds a split in two cannot be opened.
    paths = {path for name in _WRITERS for path in _target_files(target, name, splits)}
    return sorted(path for path in paths if path.exists())


def _move(staged: list[Path], folder: Path, taken: list[Path]) -> list[Path]:
    complete = [path for path in staged if path.exists()]
    written = [folder / path.name for path in complete]
    for path in taken:
        # A file is replaced in one piece below; a folder is not.
        if path.is_dir():
            shutil.rmtree(path)
        elif path not in written:
            path.unlink()
    for path, place in zip(complete, written, strict=True):
        os.replace(path, place)
    return written
