"""Captions that name their images: Karpathy's and COCO's JSON, token files, lists of ids."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hslm_tf.data.atomic_write import naming
from hslm_tf.data.errors import DataError
from hslm_tf.data.formats.karpathy import is_coco, is_karpathy, read_coco, read_karpathy
from hslm_tf.data.regular_file import regular_file
from hslm_tf.data.text_lines import (
    TOKEN_LINE,
    are_token_lines,
    check_captions,
    line_place,
    read_lines,
)

# The lists of images that lie beside Flickr8k.token.txt.
_FLICKR8K_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "dev": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
# The first lines of Kaggle's Flickr8k and Flickr30K, and of open_clip's files.
_TOKEN_HEADERS = (
    "image,caption",
    "image_name| comment_number| comment",
    "filepath,title",
    "filepath\ttitle",
)
# The split of a collection without splits.
ALL = "all"


@dataclass(frozen=True)
class CaptionedImages:
    """The images of a split, by the names that become their ids, and the captions of each."""

    source: str
    names: Sequence[str] | None
    # Without names, all captions stand in one list, in the order of the features.
    captions: Sequence[Sequence[str]] | Sequence[str] | None
    # Where the name of an image stands.
    place: Callable[[int], str]
    coco_ids: Sequence[int | None] | None = None


@dataclass(frozen=True)
class CaptionSource:
    """A file, or a folder of lists, with the captions of a collection."""

    path: Path
    kind: str
    splits: Sequence[str]
    read: Callable[[str], CaptionedImages]


def find_captions(
    path: Path, restval: bool = False, captions_per_image: int | None = None
) -> CaptionSource | None:
    """Finds the captions of a collection in a file or a folder."""
    check_captions_per_image(captions_per_image)
    if path.is_dir():
        finders = (is_karpathy, is_coco, is_token_file)
        files = sorted(file for file in path.iterdir() if any(find(file) for find in finders))
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise DataError(f"{path} holds {names}: name one of them instead of the folder")
        if not files:
            return _lists(path)
        (path,) = files
    if path.is_file() and path.suffix.lower() == ".json":
        return _json(path, restval, captions_per_image)
    return _token_file(path, captions_per_image) if is_token_file(path, named=True) else None


def check_captions_per_image(number: int | None) -> None:
    """Raises ValueError if the number of captions that are kept of an image is negative."""
    if number is not None and number < 0:
        raise ValueError(
            "captions_per_image must be at least 0, which keeps all. Received: "
            f"captions_per_image={number}"
        )


def _kind(name: str, captions_kept: int | None) -> str:
    return name + (f", at most {captions_kept} captions an image" if captions_kept else "")


def _json(path: Path, restval: bool, captions_per_image: int | None) -> CaptionSource:
    of_coco = is_coco(path)
    kind = "MS-COCO's JSON" if of_coco else "Karpathy's JSON, whose val is dev"
    file = read_coco(path) if of_coco else read_karpathy(path)
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
    return CaptionSource(path, _kind(kind, kept), splits, read)


def is_token_file(path: Path, named: bool = False) -> bool:
    """Whether a file is a token file, by its name or its first lines."""
    suffix = path.suffix.lower()
    if suffix not in (".token", ".txt", ".csv") or path.name.endswith("_caps.txt"):
        return False
    if path.is_dir() or not path.exists():
        return False
    if suffix == ".token":
        return True
    with naming(path), open(regular_file(path), encoding="utf-8-sig", errors="replace") as file:
        lines = [file.readline(10_000).strip() for _ in range(20)]
    lines = [line for line in lines if line]
    # Other lists begin with names, too: without numbers, only a header or a user says what it is.
    known = named or lines[:1] and (lines[0] in _TOKEN_HEADERS or _number(lines[0]))
    return bool(known) and are_token_lines(lines)


def _number(line: str) -> str | None:
    match = TOKEN_LINE.match(line)
    return match and match["number"]


def read_token_file(path: Path) -> dict[str, list[str]]:
    """Reads the captions of every image, whose lines need not stand together."""
    captions: dict[str, list[str]] = {}
    first_with: dict[str, int] = {}
    for row, line in enumerate(read_lines(path)):
        if row == 0 and line in _TOKEN_HEADERS:
            continue
        match = TOKEN_LINE.fullmatch(line)
        caption = match and _bare(match)
        if not caption:
            raise DataError(
                f"{line_place(path, row)}: {line[:60]!r}, expected NAME.jpg#NUMBER, a tab and a "
                "caption, NAME.jpg| NUMBER| CAPTION or NAME.jpg,CAPTION (in quotation marks where "
                "a comma is in it)"
            )
        key = line[: match.start("caption")].rstrip()
        if match["number"] and first_with.setdefault(key, row) != row:
            raise DataError(
                f"{line_place(path, row)}: {key} stands already on line {first_with[key] + 1}"
            )
        captions.setdefault(match["name"], []).append(caption)
    if not captions:
        raise DataError(f"{path} has no captions")
    return captions


def _bare(match: re.Match[str]) -> str:
    """The caption of a line; files without numbers are CSV, which knows quotation marks."""
    text = match["caption"].strip()
    if match["number"]:
        return text
    if not text.startswith('"'):
        separator = match.string[match.end("name")]
        return "" if separator in text else text
    whole = re.fullmatch(r'"((?:[^"]|"")*)"', text)
    return whole[1].replace('""', '"').strip() if whole else ""


def _token_file(path: Path, kept: int | None) -> CaptionSource:
    captions = read_token_file(path)
    lists = {
        split: path.parent / name
        for split, name in _FLICKR8K_LISTS.items()
        if (path.parent / name).is_file()
    }
    for ids in sorted(path.parent.glob("?*_ids.txt")):
        lists.setdefault(ids.name.removesuffix("_ids.txt"), ids)

    def read(split: str) -> CaptionedImages:
        ids_path = lists.get(split)
        names = list(captions if ids_path is None else _first_rows(_read_ids(ids_path), ids_path))
        for row, name in enumerate(names):
            if name not in captions:
                raise DataError(f"{line_place(ids_path, row)}: {path} has no image {name!r}")
        return CaptionedImages(
            str(path),
            names,
            [captions[name][: kept or None] for name in names],
            lambda row: str(path) if ids_path is None else line_place(ids_path, row),
        )

    return CaptionSource(path, _kind("token file", kept), sorted(lists) or [ALL], read)


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
    captions = read_lines(caps_path) if caps_path.is_file() else None
    if captions is not None and not captions:
        raise DataError(f"{caps_path} has no captions")
    check_captions(captions or (), partial(line_place, caps_path))
    if not ids_path.is_file():
        return CaptionedImages(str(caps_path), None, captions, lambda row: str(caps_path))
    ids = _read_ids(ids_path)
    count = len(captions or ())
    if count % len(ids):
        raise DataError(
            f"{caps_path} has {count} captions and {ids_path} {len(ids)} ids: expected the "
            "same whole number of captions for every id, or an id for every caption"
        )
    first_rows = _first_rows(ids, ids_path, an_id_per_caption=count == len(ids))
    rows = [*first_rows.values()]
    if captions is not None:
        grouped: dict[str, list[str]] = {image_id: [] for image_id in first_rows}
        for row, caption in enumerate(captions):
            grouped[ids[row * len(ids) // count]].append(caption)
        captions = [*grouped.values()]
    return CaptionedImages(
        str(ids_path if captions is None else caps_path),
        [*first_rows],
        captions,
        lambda row: line_place(ids_path, rows[row]),
    )


def _read_ids(path: Path) -> list[str]:
    ids = read_lines(path)
    if not ids:
        raise DataError(f"{path} has no ids")
    return ids


def _first_rows(ids: Sequence[str], path: Path, an_id_per_caption: bool = False) -> dict[str, int]:
    """The first row of every id; with an id per caption, the same ids are one image."""
    first_rows: dict[str, int] = {}
    for row, image_id in enumerate(ids):
        first = first_rows.setdefault(image_id, row)
        if first != row and not an_id_per_caption:
            raise DataError(
                f"{line_place(path, row)}: the id {image_id!r} is taken already, see "
                f"{line_place(path, first)}"
            )
    return first_rows
