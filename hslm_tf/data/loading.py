"""Opens a split in any of the formats."""

import os
from pathlib import Path
from typing import Literal

from hslm_tf.data.assembly import Layout
from hslm_tf.data.bottom_up_tsv import load_bottom_up_tsv
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import folder_listing
from hslm_tf.data.hdf5 import hdf5_splits, load_hdf5
from hslm_tf.data.precomputed import load_precomputed

Format = Literal["precomputed", "tsv", "hdf5"]

HDF5_SUFFIXES = (".h5", ".hdf5")
# How the name of the file with the region features ends, after the split.
_FEATURE_FILES: dict[Format, str] = {"precomputed": "_ims.npy", "tsv": ".tsv"}


def load_dataset(
    path: str | os.PathLike[str],
    split: str,
    layout: Layout = "auto",
    captions_optional: bool = False,
) -> RetrievalDataset:
    """Opens a split of an HDF5 file, or of a folder in the precomputed or the TSV format.

    Args:
        path: a file ending in `.h5` or `.hdf5`, or a folder.
        split: `train`, `dev` or `test`.
        layout: as for `load_precomputed`; a TSV file has one line per image.
        captions_optional: whether a split of images alone, to search in, is accepted.

    Returns:
        The dataset.

    Raises:
        DataError: if no format is recognised, more than one is, or the files are broken.

    Example:
        >>> dataset = hslm_tf.load_dataset("data/flickr8k", "test")
        >>> print(dataset.num_images, dataset.captions[0])
    """
    if is_hdf5(path):
        return load_hdf5(path, split, layout, captions_optional)
    found = [name for name, end in _FEATURE_FILES.items() if (Path(path) / (split + end)).exists()]
    if len(found) > 1:
        raise DataError(
            f"{path} holds both {split}_ims.npy and {split}.tsv: keep one of them in a folder"
        )
    if not found:
        raise DataError(
            f"{path} holds no region features of the split {split!r}: expected {split}_ims.npy or "
            f"{split}.tsv, or an HDF5 file as the path itself; it holds {folder_listing(path)}"
        )
    if found == ["tsv"]:
        return load_bottom_up_tsv(path, split, captions_optional)
    return load_precomputed(path, split, layout, captions_optional)


def find_splits(path: str | os.PathLike[str]) -> list[str]:
    """The splits that lie at a path.

    Args:
        path: a file ending in `.h5` or `.hdf5`, or a folder.

    Returns:
        Their names, sorted.

    Raises:
        DataError: if there is none.
    """
    if is_hdf5(path):
        splits = hdf5_splits(path)
    else:
        names = (name for end in _FEATURE_FILES.values() for name in Path(path).glob(f"?*{end}"))
        splits = sorted({name.name.removesuffix("_ims.npy").removesuffix(".tsv") for name in names})
    if not splits:
        held = "no such group" if is_hdf5(path) else folder_listing(path)
        raise DataError(
            f"{path} holds no split: expected files *_ims.npy or *.tsv in a folder, or groups with "
            f"ims in an HDF5 file; it holds {held}"
        )
    return splits


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether a path names an HDF5 file.

    Args:
        path: the path; it need not exist.

    Returns:
        True for the endings `.h5` and `.hdf5`.
    """
    return Path(path).suffix.lower() in HDF5_SUFFIXES
