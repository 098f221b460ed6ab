"""Captions that name their images: Karpathy's JSON, Flickr's token files, lists of ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hslm_tf.data.caption_files import read_captions
from hslm_tf.data.errors import DataError
from hslm_tf.data.formats.karpathy import is_karpathy, read_karpathy
from hslm_tf.data.formats.token_file import is_token_file, read_token_file, token_splits
from hslm_tf.data.text_lines import line_place, read_lines


@dataclass(frozen=True)
class CaptionedImages:
    """The images of a split, with their captions."""

    source: str
    names: Sequence[str] | None
    captions: Sequence[Sequence[str]] | Sequence[str] | None
    place: Callable[[int], str]
    coco_ids: Sequence[int | None] | None = None


@dataclass(frozen=True)
class CaptionSource:
    """A file, or files, with the captions of a collection."""

    path: Path
    kind: str
    splits: Sequence[str]
    read: Callable[[str], CaptionedImages]


def find_captions(
    path: Path, restval: bool = False, captions_per_image: int | None = None
) -> CaptionSource | None:
    """Finds the captions of a collection."""
    check_captions_per_image(captions_per_image)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if is_karpathy(file) or is_token_file(file))
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise DataError(f"{path} holds {names}: name one of them instead of the folder")
        if not files:
            return _lists(path)
        (path,) = files
    if path.is_file() and path.suffix.lower() == ".json":
        return _karpathy(path, restval, captions_per_image)
    return _token(path, captions_per_image) if is_token_file(path) else None


def check_captions_per_image(number: int | None) -> None:
    """Raises ValueError if a number of captions that are kept of an image is negative."""
    if number is not None and number < 0:
        raise ValueError(
            "captions_per_image must be at least 0, which keeps all. Received: "
            f"captions_per_image={number}"
        )


def _karpathy(path: Path, restval: bool, captions_per_image: int | None) -> CaptionSource:
    file = read_karpathy(path)
    kept = file.captions_kept if captions_per_image is None else captions_per_image

    def read(split: str) -> CaptionedImages:
        images = file.split(split, restval)
        captions = [image.captions[: kept or None] for image in images]
        return CaptionedImages(
            str(path),
            [image.file_name for image in images],
            captions if any(captions) else None,
            lambda row: f"{path}, split {split}",
            [image.coco_id for image in images],
        )

    splits = [split for split in file.splits if not (restval and split == "restval")]
    return CaptionSource(path, "Karpathy's JSON, whose val is dev" + _kept(kept), splits, read)


def _kept(kept: int | None) -> str:
    return f", at most {kept} captions an image" if kept else ""


def _token(path: Path, kept: int | None) -> CaptionSource:
    lists, captions = token_splits(path), read_token_file(path)

    def read(split: str) -> CaptionedImages:
        ids_path, names = lists[split], list(captions)
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

    return CaptionSource(path, "Flickr's token file" + _kept(kept), sorted(lists), read)


def _lists(folder: Path) -> CaptionSource | None:
    splits = {
        file.name.removesuffix(end)
        for end in ("_ids.txt", "_caps.txt")
        for file in folder.glob(f"?*{end}")
        if file.is_file() and not file.name.startswith(".")
    }

    def read(split: str) -> CaptionedImages:
        return _read_lists(folder / f"{split}_ids.txt", folder / f"{split}_caps.txt")

    kind = "lists of ids and captions"
    return CaptionSource(folder, kind, sorted(splits), read) if splits else None


def _read_lists(ids_path: Path, caps_path: Path) -> CaptionedImages:
    """Reads lists with equally many captions for all images, or an id for every caption."""
    captions = read_captions(caps_path) if caps_path.is_file() else None
    if captions is not None and not captions:
        raise DataError(f"{caps_path} has no captions")
    if not ids_path.is_file():
        return CaptionedImages(str(caps_path), None, captions, lambda row: str(caps_path))
    ids = _read_ids(ids_path)
    if len(captions or ()) % len(ids):
        raise DataError(
            f"{caps_path} has {len(captions)} captions and {ids_path} {len(ids)} ids: expected the "
            "same whole number of captions for every id, or an id for every caption"
        )
    runs = _runs(ids, ids_path, len(captions or ()) // len(ids))
    ends = np.cumsum([run.captions for run in runs])
    spans = [slice(end - run.captions, end) for run, end in zip(runs, ends, strict=True)]
    return CaptionedImages(
        str(ids_path if captions is None else caps_path),
        [run.image_id for run in runs],
        captions and [captions[span] for span in spans],
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
