"""What all stores of region features have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np

_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}


class Images(NamedTuple):
    """Region features of some images, read on demand.

    Attributes:
        regions: array-like `[rows, N, F]`.
        rows: int64 `[b]`, the row of each image.
        boxes: array-like `[rows, N, 4]`, or None.
        num_regions: int32 `[rows]`, how many of the N regions are real, or None for all.
    """

    regions: Any
    rows: np.ndarray
    boxes: Any = None
    num_regions: np.ndarray | None = None


@dataclass(frozen=True)
class Store:
    """Region features of a collection.

    Args:
        source: the file or files, for messages.
        kind: what they are, such as `LXMERT's TSV`.
        recognised_by: what they were recognised by.
        count: number of images.
        ids: their ids, or None where there are none.
        ordered: whether the order of the images means something, as that of lines in a file does.
        select: opens images by their places in `ids`, int `[b]`.
    """

    source: str
    kind: str
    recognised_by: str
    count: int
    ids: Sequence[str] | None
    ordered: bool
    select: Callable[[np.ndarray], Images]


class Found(NamedTuple):
    """Where the images of a list stand in a store.

    Attributes:
        places: int64 `[b]`, -1 where there is none.
        key: what they were found by.
    """

    places: np.ndarray
    key: str


def find_images(
    store: Store, names: Sequence[str], coco_ids: Sequence[int | None] | None = None
) -> Found:
    """Finds images by their names, with or without the ending, or by their ids in MS-COCO.

    The same key serves all of them, the one that finds most: a number in a name and an id of
    MS-COCO must not be mixed up.

    Args:
        store: a store with ids.
        names: names of the images.
        coco_ids: their ids in MS-COCO, or None.

    Returns:
        Their places.
    """
    keys: list[tuple[str, Sequence[str | None], Sequence[str | None]]] = [
        ("name", names, store.ids),
        ("name without ending", [*map(_stem, names)], [*map(_stem, store.ids)]),
    ]
    if coco_ids is not None and any(number is not None for number in coco_ids):
        wanted = [None if number is None else str(number) for number in coco_ids]
        keys.append(("cocoid", wanted, [*map(_number, store.ids)]))
    best = Found(np.full(len(names), -1), "name")
    for key, wanted, there in keys:
        if _has_doubles(wanted) or _has_doubles(there):
            continue
        place_of = {value: place for place, value in enumerate(there) if value is not None}
        places = np.array([place_of.get(value, -1) for value in wanted], np.int64)
        if (places >= 0).sum() > (best.places >= 0).sum():
            best = Found(places, key)
    return best


def _has_doubles(values: Sequence[str | None]) -> bool:
    # `a.jpg` and `a.png` are two images, whose names without ending say nothing.
    known = [value for value in values if value is not None]
    return len(set(known)) < len(known)


def _stem(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix.lower() in _IMAGE_SUFFIXES else name


def _number(image_id: str) -> str | None:
    # The names of MS-COCO's 2017 release are its ids, filled up with zeros.
    stem = _stem(image_id)
    return stem.lstrip("0") or "0" if stem.isascii() and stem.isdigit() else None
