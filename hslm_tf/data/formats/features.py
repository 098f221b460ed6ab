"""The images of a collection, in one or more files of region features."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import folder_listing
from hslm_tf.data.formats.image import Image, Part
from hslm_tf.data.formats.image_files import has_image_files, image_files, read_image_files
from hslm_tf.data.formats.root_hdf5 import is_root_hdf5, read_root_hdf5
from hslm_tf.data.formats.tsv import is_tsv, read_tsv
from hslm_tf.data.hdf5 import hdf5_splits, load_hdf5
from hslm_tf.data.hdf5_rows import is_hdf5
from hslm_tf.data.precomputed import load_precomputed, precomputed_splits

_READABLE = (
    "a folder with a .npz or .npy file per image, TSV files of bottom-up attention, LXMERT, VinVL "
    "or Oscar, HDF5 files, or {split}_ims.npy with {split}_ids.txt"
)


class FeatureFile(NamedTuple):
    """A file, or a folder of files per image, with region features."""

    path: Path
    kind: str
    read: Callable[[], Iterator[Image]]
    # Whether the order of its images means something.
    ordered: bool = True


def feature_files(path: Path) -> Iterator[FeatureFile]:
    """Finds files of region features: the path itself, or those in a folder."""
    if path.is_dir():
        # Arrays may have any name, but not beside features whose form is known.
        yield from [*_in_folder(path, has_image_files)] or _in_folder(path, image_files)
    else:
        yield from _of_file(path)


def read_images(files: list[FeatureFile], path: Path) -> list[Image]:
    """Reads the images of files that were found at a path; region features stay on disk."""
    if not files:
        held = folder_listing(path) if path.is_dir() or not path.exists() else "no region features"
        raise DataError(
            f"{path} holds no region features, it holds {held}; readable are {_READABLE}"
        )
    images = [image for file in files for image in file.read()]
    first_with: dict[str, Image] = {}
    for image in images:
        first = first_with.setdefault(image.id, image)
        if image.id and first is not image:
            raise DataError(
                f"{image.place}: the image {image.id!r} stands already in {first.place}"
            )
    return images


def images_of(dataset: RetrievalDataset) -> Iterator[Image]:
    """The images of a split, one at a time."""
    counts = dataset.region_mask(np.arange(dataset.num_images)).sum(axis=1)
    for row in range(dataset.num_images):
        yield Image(
            id=dataset.image_ids[row] if dataset.image_ids else "",
            place=dataset.place_of(row),
            num_regions=int(counts[row]),
            width=dataset.region_dim,
            dtype=dataset.region_features.dtype,
            has_boxes=dataset.boxes is not None,
            read=partial(_read_row, dataset, row, int(counts[row])),
        )


def _read_row(dataset: RetrievalDataset, row: int, count: int, part: Part) -> np.ndarray:
    rows = np.array([row])
    values = dataset.read_boxes(rows) if part == "boxes" else dataset.read_images(rows)[0]
    return values[0, :count]


def _in_folder(path: Path, has_images: Callable[[Path], object]) -> Iterator[FeatureFile]:
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    for folder in (path, *filter(Path.is_dir, entries)):
        if has_images(folder):
            read = partial(read_image_files, folder)
            yield FeatureFile(folder, "a file per image", read, ordered=False)
    for entry in entries:
        yield from _of_file(entry)
    for split in precomputed_splits(path):
        if (path / f"{split}_ids.txt").is_file():
            read = partial(_of_split, load_precomputed, path, split)
            yield FeatureFile(path / f"{split}_ims.npy", "precomputed", read)


def _of_file(path: Path) -> Iterator[FeatureFile]:
    if not path.is_file():
        return
    if is_tsv(path):
        yield FeatureFile(path, "TSV", partial(read_tsv, path))
    elif is_hdf5(path) and is_root_hdf5(path):
        yield FeatureFile(path, "HDF5 without splits", partial(read_root_hdf5, path))
    elif is_hdf5(path):
        for split in hdf5_splits(path):
            yield FeatureFile(path, "HDF5 by splits", partial(_of_split, load_hdf5, path, split))


def _of_split(load: Callable[..., RetrievalDataset], path: Path, split: str) -> Iterator[Image]:
    yield from images_of(load(path, split, captions_optional=True, float64=True))
