"""Captions that name their images: Karpathy's JSON, Flickr's token files, lists of ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hslm_tf.data.caption_files import read_captions
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import require_files
from hslm_tf.data.karpathy import (
    is_karpathy,
    karpathy_captions_kept,
    karpathy_split,
    karpathy_splits,
)
from hslm_tf.data.options import ReadOptions
from hslm_tf.data.text_lines import line_place, read_lines
from hslm_tf.data.token_file import is_token_file, read_token_file, token_splits


@dataclass(frozen=True)
class CaptionedImages:
    """The images of a split, by name, with their captions.

    Args:
        source: the file, for messages.
        names: names of the images; they become their ids.
        captions: the captions of each, or None for images alone.
        place: says where the name of an image stands, for messages.
        coco_ids: ids in MS-COCO, or None.
    """

    source: str
    names: Sequence[str]
    captions: Sequence[Sequence[str]] | None
    place: Callable[[int], str]
    coco_ids: Sequence[int | None] | None = None


@dataclass(frozen=True)
class CaptionSource:
    """A file, or files, with the captions of a collection.

    Args:
        path: the file, or the folder of lists.
        kind: what it is.
        splits: names of the splits.
        read: reads one of them.
    """

    path: Path
    kind: str
    splits: Sequence[str]
    read: Callable[[str], CaptionedImages]


def find_captions(path: Path, options: ReadOptions) -> CaptionSource | None:
    """Finds captions that name their images.

    Args:
        path: a JSON, a token file, or a folder with one of them, or with `{split}_ids.txt`.
        options: how they are read.

    Returns:
        The captions; None where there are none.

    Raises:
        DataError: if a JSON is none of Karpathy's, or a folder holds several files of captions.
    """
    if path.is_file():
        if path.suffix.lower() == ".json":
            return _karpathy(path, options)
        return _token(path, options) if is_token_file(path) else None
    if not path.is_dir():
        return None
    files = caption_files(path)
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{path} holds {names}: name one of them instead of the folder")
    if files:
        return find_captions(files[0], options)
    lists = sorted(ids.name.removesuffix("_ids.txt") for ids in path.glob("?*_ids.txt"))
    return _lists(path, lists, options)


def caption_files(folder: Path) -> list[Path]:
    """The files of a folder with captions of a whole collection.

    Args:
        folder: the folder.

    Returns:
        Karpathy's JSONs and Flickr's token files, sorted.
    """
    return sorted(file for file in folder.iterdir() if is_karpathy(file) or is_token_file(file))


def _karpathy(path: Path, options: ReadOptions) -> CaptionSource:
    kept = options.captions_per_image
    if kept is None:
        kept = karpathy_captions_kept(path)

    def read(split: str) -> CaptionedImages:
        images = karpathy_split(path, split, options.restval)
        captions = [image.captions[: kept or None] for image in images]
        return CaptionedImages(
            str(path),
            [image.file_name for image in images],
            captions if any(captions) else None,
            lambda row: f"{path}, split {split}",
            [image.coco_id for image in images],
        )

    splits = set(karpathy_splits(path))
    if options.restval:
        splits.discard("restval")
    kind = "Karpathy's JSON, whose val is dev" + _first_kept(kept)
    return CaptionSource(path, kind, sorted(splits), read)


def _first_kept(kept: int | None) -> str:
    return f", at most {kept} captions an image" if kept else ""


def _token(path: Path, options: ReadOptions) -> CaptionSource:
    lists, kept = token_splits(path), options.captions_per_image

    def read(split: str) -> CaptionedImages:
        captions, ids_path = read_token_file(path), lists[split]
        names = list(captions)
        if ids_path is not None:
            names = [run.image_id for run in _runs(_read_ids(ids_path), ids_path, 0)]
        for row, name in enumerate(names):
            if name not in captions:
                raise DataError(f"{line_place(ids_path, row)}: {path} has no image {name!r}")
        return CaptionedImages(
            str(path),
            names,
            [captions[name][: kept or None] for name in names],
            lambda row: str(path) if ids_path is None else line_place(ids_path, row),
        )

    return CaptionSource(path, "Flickr's token file" + _first_kept(kept), sorted(lists), read)


def _lists(folder: Path, splits: Sequence[str], options: ReadOptions) -> CaptionSource | None:
    def read(split: str) -> CaptionedImages:
        return read_lists(folder, split, options)

    return CaptionSource(folder, "lists of ids and captions", splits, read) if splits else None


def read_lists(folder: Path, split: str, options: ReadOptions) -> CaptionedImages:
    """Reads `{split}_ids.txt` and `{split}_caps.txt`.

    Args:
        folder: the folder.
        split: the split.
        options: how.

    Returns:
        The images. There are equally many captions for all, or an id for every caption.

    Raises:
        DataError: if a file is missing or broken, or they do not fit.
    """
    ids_path, caps_path = folder / f"{split}_ids.txt", folder / f"{split}_caps.txt"
    ids = _read_ids(ids_path)
    with_captions = caps_path.exists() or not options.captions_optional
    if with_captions:
        require_files(folder, [caps_path])
    captions = read_captions(caps_path) if with_captions else []
    if len(captions) % len(ids) or (with_captions and not captions):
        raise DataError(
            f"{caps_path} has {len(captions)} captions and {ids_path} {len(ids)} ids: expected the "
            "same whole number of captions for every id, or an id for every caption"
        )
    runs = _runs(ids, ids_path, len(captions) // len(ids))
    ends = np.cumsum([run.captions for run in runs])
    groups = [captions[end - run.captions : end] for run, end in zip(runs, ends, strict=True)]
    return CaptionedImages(
        str(caps_path if with_captions else ids_path),
        [run.image_id for run in runs],
        groups if with_captions else None,
        lambda row: line_place(ids_path, runs[row].row),
    )


def _read_ids(path: Path) -> list[str]:
    ids = read_lines(path)
    if not ids:
        raise DataError(f"{path} has no ids")
    return ids


class _Run(NamedTuple):
    """An image in a file of ids: its first row there, and how many captions it has."""

    image_id: str
    row: int
    captions: int


def _runs(ids: Sequence[str], path: Path, captions_per_id: int) -> list[_Run]:
    """Every id once; where every caption has an id, ids that repeat in a row are of one image."""
    runs: list[_Run] = []
    first_with: dict[str, int] = {}
    for row, image_id in enumerate(ids):
        if captions_per_id == 1 and runs and image_id == runs[-1].image_id:
            runs[-1] = runs[-1]._replace(captions=runs[-1].captions + 1)
            continue
        first = first_with.setdefault(image_id, row)
        if first != row:
            raise DataError(
                f"{line_place(path, row)}: the id {image_id!r} is taken already, see "
                f"{line_place(path, first)}"
            )
        runs.append(_Run(image_id, row, captions_per_id))
    return runs
