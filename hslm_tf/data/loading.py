"""Opens a split of a data set: a folder in the precomputed format, or one HDF5 file."""

import os
from pathlib import Path

from hslm_tf.data.assembly import Layout
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import folder_listing
from hslm_tf.data.formats.foreign import Foreign
from hslm_tf.data.hdf5 import hdf5_splits, load_hdf5
from hslm_tf.data.hdf5_rows import is_hdf5
from hslm_tf.data.precomputed import load_precomputed, precomputed_splits
from hslm_tf.data.sample import sample_folder


def load_dataset(
    path: str | os.PathLike[str],
    split: str,
    layout: Layout = "auto",
    captions_optional: bool = False,
    float64: bool = False,
) -> RetrievalDataset:
    """Opens a split of a folder in the precomputed format, or of an HDF5 file with a group a split.

    `python -m hslm_tf.convert` makes either of them of the files of other tools.

    Args:
        path: the folder or the file; `sample` is the built-in sample.
        split: `train`, `dev` or `test`.
        layout: `per_image`, `per_caption` (the row of an image is repeated for each of its
            captions, as in SCAN's release) or `auto`, which finds out.
        captions_optional: whether a split of images alone, to search in, is accepted.
        float64: whether features may be float64, as for converting them.

    Returns:
        The dataset.

    Raises:
        DataError: if there is no such split, or its files are broken.

    Example:
        >>> dataset = hslm_tf.load_dataset("data/flickr8k", "test")
        >>> print(dataset.num_images, dataset.captions[0])
    """
    path = located(path)
    splits = find_splits(path)
    if split not in splits:
        raise DataError(
            f"{path} holds no region features of the split {split!r}; it holds "
            f"{', '.join(splits)}{_unfinished(path)}"
        )
    load = load_hdf5 if is_hdf5(path) else load_precomputed
    return load(path, split, layout, captions_optional, float64)


def located(path: str | os.PathLike[str]) -> Path:
    """Where a data set lies; "sample" is the built-in one."""
    return sample_folder() if os.fspath(path) == "sample" else Path(path)


def find_splits(path: str | os.PathLike[str]) -> list[str]:
    """The splits of a data set."""
    path = located(path)
    if splits := dataset_splits(path):
        return splits
    foreign = Foreign(path) if path.exists() else None
    if foreign is not None and foreign.recognised:
        split = foreign.splits[0]
        raise DataError(
            f"{path} is no data set yet: the split {split} is {foreign.kind(split)}. `python -m "
            f"hslm_tf.convert {path} TARGET` makes a data set of it"
        )
    raise no_splits(path)


def dataset_splits(path: Path) -> list[str]:
    """The splits of a data set; none where something else lies at the path."""
    if path.is_dir():
        return precomputed_splits(path)
    return hdf5_splits(path) if is_hdf5(path) and path.is_file() else []


def no_splits(path: Path) -> DataError:
    """The error of a path where nothing is recognised."""
    if not path.exists():
        held = "it is a link to nothing" if path.is_symlink() else "there is no such file or folder"
        return DataError(f"{path} holds no split: {held}")
    if path.is_file():
        held = f"it is a file ending in {path.suffix or 'nothing'}"
    else:
        held = f"it holds {folder_listing(path)}{_unfinished(path)}"
    return DataError(
        f"{path} holds no split: {held}. A data set is a folder with {{split}}_ims.npy, or an HDF5 "
        "file with groups {split}/ims; `python -m hslm_tf.convert --help` says what becomes one"
    )


def _unfinished(path: Path) -> str:
    """Says that a writer was killed in a folder, or is at work there."""
    begun = path.is_dir() and any((*path.glob(".draft-*"), *path.glob(".partial-*")))
    return ", and what a command left that did not finish: run it again" if begun else ""
