"""Opens a split in any of the formats."""

import os
from collections.abc import Mapping
from pathlib import Path

from hslm_tf.data.assembly import Layout
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.first_regions import first_regions
from hslm_tf.data.folders import folder_listing
from hslm_tf.data.options import ReadOptions
from hslm_tf.data.reader import Reader
from hslm_tf.data.readers import CAPTIONED, NAMED, PRECOMPUTED, READERS


def load_dataset(
    path: str | os.PathLike[str],
    split: str,
    layout: Layout = "auto",
    captions_optional: bool = False,
    *,
    features: str | os.PathLike[str] | None = None,
    restval: bool = False,
    captions_per_image: int | None = None,
) -> RetrievalDataset:
    """Opens a split of a file or folder in any format that `docs/data.md` lists.

    Args:
        path: a file or a folder; what it is is found out.
        split: `train`, `dev` or `test`.
        layout: as for `load_precomputed`; the other formats have one row per image.
        captions_optional: whether a split of images alone, to search in, is accepted.
        features: file or folder of the region features, for a path with captions that name their
            images; by default they lie beside the captions.
        restval: whether Karpathy's `restval` (of MS-COCO) is added to `train`.
        captions_per_image: how many captions of an image are kept where captions name their
            images, the first ones; 0 keeps all. By default five of MS-COCO's, and else all.

    Returns:
        The dataset.

    Raises:
        DataError: if no format is recognised, more than one is, or the files are broken.

    Example:
        >>> dataset = hslm_tf.load_dataset("data/flickr8k", "test")
        >>> print(dataset.num_images, dataset.captions[0])
    """
    features = None if features is None else Path(features)
    options = ReadOptions(layout, captions_optional, features, restval, captions_per_image)
    return open_split(path, split, options)


def open_split(path: str | os.PathLike[str], split: str, options: ReadOptions) -> RetrievalDataset:
    """Opens a split; `load_dataset` with the options in one.

    Args:
        path: a file or a folder.
        split: `train`, `dev` or `test`.
        options: how.

    Returns:
        The dataset.

    Raises:
        DataError: as for `load_dataset`.
    """
    reader, _ = recognise(path, split, options)
    return first_regions(reader.load(Path(path), split, options), options.max_regions)


def find_splits(path: str | os.PathLike[str], options: ReadOptions | None = None) -> list[str]:
    """The splits that lie at a path.

    Args:
        path: a file or a folder.
        options: how they are read, by default as `load_dataset` reads them.

    Returns:
        Their names, sorted.

    Raises:
        DataError: if there is none.
    """
    options = options or ReadOptions()
    splits = sorted(_first(Path(path), options)[1])
    if not splits:
        raise _nothing(Path(path), "no split", options)
    return splits


def recognise(path: str | os.PathLike[str], split: str, options: ReadOptions) -> tuple[Reader, str]:
    """Finds the reader of a split.

    Args:
        path: a file or a folder.
        split: the split.
        options: how it is read.

    Returns:
        The reader, and what the split was recognised by.

    Raises:
        DataError: if there is none, or more than one.
    """
    path = Path(path)
    for reader in _asked(options):
        found = reader.splits(path, options)
        if split not in found:
            continue
        other = NAMED.splits(path, options).get(split) if reader is PRECOMPUTED else None
        if other is not None:
            raise DataError(f"{path} holds both {found[split]} and {other}: keep one of them")
        return reader, found[split]
    raise _nothing(path, f"no region features of the split {split!r}", options)


def _asked(options: ReadOptions) -> tuple[Reader, ...]:
    # Features elsewhere belong to captions that name their images, whatever else lies there.
    return READERS if options.features is None else (CAPTIONED,)


def _first(path: Path, options: ReadOptions) -> tuple[Reader | None, Mapping[str, str]]:
    for reader in _asked(options):
        found = dict(reader.splits(path, options))
        if found:
            if reader is PRECOMPUTED:
                found |= NAMED.splits(path, options)
            return reader, found
    return None, {}


def _nothing(path: Path, lacking: str, options: ReadOptions) -> DataError:
    reader, found = _first(path, options)
    if reader is not None:
        splits = ", ".join(
            f"{split} ({recognised_by})" for split, recognised_by in sorted(found.items())
        )
        return DataError(f"{path} holds {lacking}; it holds {splits}")
    if path.is_file():
        held = f"it is a file ending in {path.suffix or 'nothing'}"
    else:
        held = f"it holds {folder_listing(path)}"
    readable = "; ".join(reader.recognised_by for reader in _asked(options))
    return DataError(f"{path} holds {lacking}: {held}. Readable are: {readable}")
