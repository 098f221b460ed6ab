"""Finds the region features of a collection at a path."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import folder_listing
from hslm_tf.data.hdf5 import hdf5_splits, load_hdf5
from hslm_tf.data.hdf5_rows import is_hdf5
from hslm_tf.data.precomputed import load_precomputed, precomputed_splits
from hslm_tf.data.stores.image_files import has_image_files, open_image_files
from hslm_tf.data.stores.joined import join_stores
from hslm_tf.data.stores.root_hdf5 import advice_on_ids, is_root_hdf5, open_root_hdf5
from hslm_tf.data.stores.store import Images, Store
from hslm_tf.data.stores.tsv import open_tsv

_READABLE = (
    "a folder with a .npz or .npy file per image, TSV files of bottom-up attention or LXMERT, HDF5 "
    "files, or {split}_ims.npy with {split}_ids.txt"
)


def is_tsv(path: Path) -> bool:
    """Whether a name is that of a TSV file, or of a part of one (`.tsv.0`).

    Args:
        path: the file.

    Returns:
        True for the endings `.tsv` and `.tsv.` with a number.
    """
    suffixes = path.suffixes[-2:]
    return path.suffix.lower() == ".tsv" or (
        len(suffixes) == 2 and suffixes[0].lower() == ".tsv" and suffixes[1][1:].isdigit()
    )


def open_file(path: Path) -> Store:
    """Opens the features of all images in one file or one folder of image files.

    Args:
        path: a TSV file, an HDF5 file with all images at its root, or a folder.

    Returns:
        The store.

    Raises:
        DataError: if it is damaged.
    """
    if path.is_dir():
        return open_image_files(path)
    return open_tsv(path) if is_tsv(path) else open_root_hdf5(path)


def find_store(path: Path) -> Store:
    """Opens the features of a collection, in as many files as there are.

    Args:
        path: a file, or a folder: of image files, or with files or such folders in it.

    Returns:
        The store, with ids.

    Raises:
        DataError: if there is nothing that can be read, or it has no ids.
    """
    stores = list(_stores(path))
    if not stores:
        held = folder_listing(path) if path.is_dir() or not path.exists() else "no region features"
        raise DataError(
            f"{path} holds no region features, it holds {held}; readable are {_READABLE}"
        )
    without = next((store for store in stores if store.ids is None), None)
    if without is not None:
        file = Path(without.source.split(":/")[0])
        raise DataError(f"{file} has no ids to find images by: {advice_on_ids(file)}")
    return join_stores(stores, str(path))


def _stores(path: Path) -> Iterator[Store]:
    if path.is_file():
        if is_tsv(path) or (is_hdf5(path) and is_root_hdf5(path)):
            yield open_file(path)
        elif is_hdf5(path):
            for split in hdf5_splits(path):
                yield _of_split(load_hdf5(path, split, captions_optional=True), "HDF5 by splits")
        return
    if not path.is_dir():
        return
    if has_image_files(path):
        yield open_image_files(path)
    for entry in sorted(path.iterdir()):
        if entry.is_file() and (is_tsv(entry) or is_hdf5(entry)):
            yield from _stores(entry)
        elif entry.is_dir() and not entry.name.startswith(".") and has_image_files(entry):
            yield open_image_files(entry)
    for split in precomputed_splits(path):
        if (path / f"{split}_ids.txt").is_file():
            yield _of_split(load_precomputed(path, split, captions_optional=True), "precomputed")


def _of_split(dataset: RetrievalDataset, kind: str) -> Store:
    num_regions = None
    if dataset.num_regions is not None:
        num_regions = np.ones(dataset.region_features.shape[0], np.int32)
        num_regions[dataset.image_rows] = dataset.num_regions

    def select(places: np.ndarray) -> Images:
        rows = dataset.image_rows[places]
        return Images(dataset.region_features, rows, dataset.boxes, num_regions)

    return Store(
        source=dataset.source,
        kind=kind,
        recognised_by=f"the split {dataset.name}",
        count=dataset.num_images,
        ids=dataset.image_ids,
        ordered=True,
        select=select,
    )
