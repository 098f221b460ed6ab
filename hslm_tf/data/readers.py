"""All readers: what each recognises, and by what."""

from collections.abc import Iterator
from pathlib import Path

from hslm_tf.data.captioned import caption_files, find_captions
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import require_files
from hslm_tf.data.hdf5 import hdf5_splits, load_hdf5
from hslm_tf.data.hdf5_rows import HDF5_SUFFIXES, is_hdf5
from hslm_tf.data.joining import all_images, join, load_beside
from hslm_tf.data.options import ReadOptions
from hslm_tf.data.precomputed import load_precomputed, precomputed_splits
from hslm_tf.data.reader import Reader
from hslm_tf.data.stores.finding import find_store, is_tsv, open_file
from hslm_tf.data.stores.image_files import has_image_files
from hslm_tf.data.stores.root_hdf5 import is_root_hdf5
from hslm_tf.data.stores.store import Store
from hslm_tf.data.token_file import ALL
from hslm_tf.data.tsv_lines import read_columns


def _precomputed_splits(path: Path, options: ReadOptions) -> dict[str, str]:
    return {split: f"{split}_ims.npy" for split in precomputed_splits(path)}


def _load_precomputed(path: Path, split: str, options: ReadOptions) -> RetrievalDataset:
    layout, optional = options.layout, options.captions_optional
    return load_precomputed(path, split, layout, optional, options.float64)


def _hdf5_splits(path: Path, options: ReadOptions) -> dict[str, str]:
    if not is_hdf5(path) or not path.is_file():
        return {}
    return {split: f"the group /{split} with ims" for split in hdf5_splits(path)}


def _load_hdf5(path: Path, split: str, options: ReadOptions) -> RetrievalDataset:
    layout, optional = options.layout, options.captions_optional
    return load_hdf5(path, split, layout, optional, options.float64)


def _named_files(path: Path) -> Iterator[tuple[str, Path, str]]:
    """Features named after a split: the split, where they are, and what they are."""
    if not path.is_dir():
        return
    # Beside captions of a whole collection, ids alone do not make a split of a file of features:
    # `train36_ids.txt` are the ids in `train36.hdf5`.
    ends = ("_caps.txt",) if caption_files(path) else ("_caps.txt", "_ids.txt")
    for file in sorted(path.iterdir()):
        split = file.name.removesuffix(file.suffix)
        if file.suffix not in ("", ".tsv", *HDF5_SUFFIXES):
            continue
        if not any((path / f"{split}{end}").is_file() for end in ends):
            continue
        if file.suffix == ".tsv" and file.is_file():
            yield split, file, f"{file.name}{_columns_of(file)}"
        elif file.suffix in HDF5_SUFFIXES and file.is_file():
            yield split, file, f"{file.name} with features at its root"
        elif not file.suffix and file.is_dir() and has_image_files(file):
            yield split, file, f"the folder {file.name} with a file per image"


def _columns_of(file: Path) -> str:
    try:
        columns = read_columns(file)
    except DataError:
        # The file is told by its name, and says what is wrong when it is opened.
        return ""
    return f", {columns} of {columns.written_by}"


def _named_splits(path: Path, options: ReadOptions) -> dict[str, str]:
    found: dict[str, str] = {}
    for split, _, recognised_by in _named_files(path):
        if split in found:
            raise DataError(f"{path} holds {found[split]}, and {recognised_by}: keep one of them")
        found[split] = recognised_by
    return found


def _named_store(path: Path, split: str, options: ReadOptions) -> Store:
    return open_file(next(file for name, file, _ in _named_files(path) if name == split))


def _load_named(path: Path, split: str, options: ReadOptions) -> RetrievalDataset:
    return load_beside(_named_store(path, split, options), path, split, options)


def _captioned_splits(path: Path, options: ReadOptions) -> dict[str, str]:
    source = find_captions(path, options)
    return (
        {split: f"{source.path.name}, {source.kind}" for split in source.splits} if source else {}
    )


def _captioned_store(path: Path, split: str, options: ReadOptions) -> Store:
    return find_store(options.features or (path if path.is_dir() else path.parent))


def _load_captioned(path: Path, split: str, options: ReadOptions) -> RetrievalDataset:
    images = find_captions(path, options).read(split)
    return join(split, images, _captioned_store(path, split, options), options)


def _stores_themselves(path: Path) -> Iterator[tuple[str, Path, str]]:
    """Features of all images, as `_named_files`."""
    if path.is_dir():
        if has_image_files(path):
            yield ALL, path, "a file per image"
        for file in sorted(path.glob("?*.tsv")):
            yield file.stem, file, f"{file.name}{_columns_of(file)}"
    elif path.is_file() and is_tsv(path):
        yield ALL, path, f"{path.name}{_columns_of(path)}"
    elif path.is_file() and is_hdf5(path) and is_root_hdf5(path):
        yield ALL, path, "features at the root"


def _store_splits(path: Path, options: ReadOptions) -> dict[str, str]:
    return {split: recognised_by for split, _, recognised_by in _stores_themselves(path)}


def _store_itself(path: Path, split: str, options: ReadOptions) -> Store:
    return open_file(next(file for name, file, _ in _stores_themselves(path) if name == split))


def _load_store(path: Path, split: str, options: ReadOptions) -> RetrievalDataset:
    if not options.captions_optional:
        if split != ALL:
            require_files(path, [path / f"{split}_caps.txt"])
        raise DataError(
            f"{path} has region features alone, without captions: open the file of captions and "
            "give this path as its features"
        )
    return all_images(split, _store_itself(path, split, options), None, options)


PRECOMPUTED = Reader(
    "precomputed", "a folder with {split}_ims.npy", _precomputed_splits, _load_precomputed
)
NAMED = Reader(
    "features by split",
    "a folder with {split}_caps.txt or {split}_ids.txt beside {split}.tsv, {split}.hdf5 or a "
    "folder {split} of .npz or .npy files",
    _named_splits,
    _load_named,
    _named_store,
)
HDF5 = Reader("HDF5 by splits", "an HDF5 file with groups {split}/ims", _hdf5_splits, _load_hdf5)
CAPTIONED = Reader(
    "captions with names",
    "Karpathy's JSON, a Flickr token file, or a folder with one of them or with {split}_ids.txt, "
    "and region features beside",
    _captioned_splits,
    _load_captioned,
    _captioned_store,
)
STORE = Reader(
    "features alone",
    "a TSV file, an HDF5 file with image_features at its root, or a folder of .npz or .npy files, "
    "one per image",
    _store_splits,
    _load_store,
    _store_itself,
)
# In the order in which they are asked.
READERS = (PRECOMPUTED, NAMED, HDF5, CAPTIONED, STORE)
