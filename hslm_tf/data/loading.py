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
        path: the folder or the file.
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
    found = find_splits(path)
    if split not in found:
        raise DataError(
            f"{path} holds no region features of the split {split!r}; it holds {', '.join(found)}"
        )
    load = load_hdf5 if is_hdf5(path) else load_precomputed
    return load(path, split, layout, captions_optional, float64)


def find_splits(path: str | os.PathLike[str]) -> list[str]:
    """The splits of a data set."""
    path = Path(path)
    if splits := own_splits(path):
        return splits
    if not path.exists():
        raise DataError(f"{path} holds no split: there is no such file or folder")
    foreign = Foreign(path)
    if foreign.recognised:
        split = foreign.splits[0]
        raise DataError(
            f"{path} is no data set yet: the split {split} is {foreign.kind(split)}. `python -m "
            f"hslm_tf.convert {path} TARGET` makes a data set of it"
        )
    if path.is_file():
        held = f"it is a file ending in {path.suffix or 'nothing'}"
    else:
        held = f"it holds {folder_listing(path)}"
    raise DataError(
        f"{path} holds no split: {held}. A data set is a folder with {{split}}_ims.npy, or an HDF5 "
        "file with groups {split}/ims; `python -m hslm_tf.convert --help` says what becomes one"
    )


def own_splits(path: Path) -> list[str]:
    """The splits that lie at a path in one of the two forms."""
    if path.is_dir():
        return precomputed_splits(path)
    return hdf5_splits(path) if is_hdf5(path) and path.is_file() else []
