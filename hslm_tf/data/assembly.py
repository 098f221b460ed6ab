"""Makes a dataset of the parts of a split, for every format, and checks that they fit."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.repeated_rows import rows_per_image
from hslm_tf.data.text_lines import check_captions

Layout = Literal["auto", "per_image", "per_caption"]
# Names a part of a split, such as `ims`, or a row of the part, in error messages.
Label = Callable[..., str]


def assemble(
    split: str, parts: Mapping[str, Any], label: Label, layout: Layout, float64: bool
) -> RetrievalDataset:
    """Builds a dataset of `ims` and perhaps `caps`, `ids`, `boxes`, `num_regions`, `features`."""
    if layout not in get_args(Layout):
        raise ValueError(f"layout is one of {get_args(Layout)}. Received: layout={layout!r}")
    regions, captions = parts["ims"], parts.get("caps", [])
    ids, boxes, num_regions = (parts.get(part) for part in ("ids", "boxes", "num_regions"))
    _check_regions(regions, label("ims"), float64)
    if "caps" in parts:
        _check_captions(captions, label)
    else:
        layout = "per_image"
    rows, repeats = regions.shape[0], 1
    if layout == "per_caption" and len(captions) % rows:
        raise DataError(
            f"{label('ims')} has {rows} rows and {label('caps')} {len(captions)} captions: "
            "the layout per_caption needs as many captions for every row"
        )
    if layout == "per_caption" or (layout == "auto" and rows == len(captions)):
        repeats = rows_per_image(regions, ids, label("ims"), repeated=layout == "per_caption")
    image_rows = np.arange(0, rows, repeats)
    images = len(image_rows)
    counts = _captions_per_image(len(captions), images, ids, label)
    if ids is not None:
        if len(set(counts)) > 1:
            ids = [ids[end - 1] for end in np.cumsum(counts)]
        ids = _ids_per_image(ids, {images, rows, len(captions) or images}, images, label)
    if boxes is not None and (boxes.shape != (*regions.shape[:2], 4) or boxes.dtype.kind != "f"):
        raise DataError(
            f"{label('boxes')} is {boxes.dtype} of shape {boxes.shape}, expected floating point "
            f"of shape {(*regions.shape[:2], 4)} to fit {label('ims')}"
        )
    if num_regions is not None:
        _check_num_regions(num_regions, regions.shape, label)
        num_regions = np.asarray(num_regions, np.int32)[image_rows]
    return RetrievalDataset(
        name=split,
        source=label("ims"),
        region_features=regions,
        captions=captions,
        caption_to_image=np.repeat(np.arange(images, dtype=np.int32), counts),
        image_ids=ids,
        boxes=boxes,
        num_regions=num_regions,
        image_rows=image_rows,
        extraction=parts.get("features"),
    )


def _check_regions(regions: Any, source: str, float64: bool) -> None:
    if regions.dtype.kind != "f" or regions.dtype.itemsize not in (2, 4, 8 if float64 else 4):
        advice = ""
        if regions.dtype == np.float64:
            advice = ": `python -m hslm_tf.convert SOURCE TARGET` makes float32 of it"
        raise DataError(f"{source} is {regions.dtype}, expected float32 or float16{advice}")
    if len(regions.shape) != 3:
        raise DataError(
            f"{source} has shape {regions.shape}, expected three axes: images, regions, features"
        )
    if 0 in regions.shape:
        raise DataError(f"{source} has shape {regions.shape}: it is empty")


def _check_captions(captions: Sequence[str], label: Label) -> None:
    if not captions:
        raise DataError(f"{label('caps')} has no captions")
    for row, caption in enumerate(captions):
        if not caption or "\n" in caption:
            raise DataError(f"{label('caps', row)}: {caption!r} is not one line of text")
    check_captions(captions, partial(label, "caps"))


def _captions_per_image(
    captions: int, images: int, ids: list[str] | None, label: Label
) -> Sequence[int]:
    if captions and ids is not None and len(ids) == captions:
        _check_order(ids, label)
        runs = [len(list(run)) for _, run in groupby(ids)]
        if len(runs) == images:
            return runs
    if captions % images:
        raise DataError(
            f"{label('caps')} has {captions} captions and {label('ims')} {images} images: "
            "expected the same whole number of captions for every image, or an id for every caption"
        )
    return [captions // images] * images


def _check_order(ids: list[str], label: Label) -> None:
    first_with: dict[str, int] = {}
    for row, image_id in enumerate(ids):
        first = first_with.setdefault(image_id, row)
        if first != row and image_id != ids[row - 1]:
            raise DataError(
                f"{label('ids', row)}: {image_id!r} stands already in {label('ids', first)} and "
                "others between them, expected the ids and captions of an image together, and the "
                "images in the order of the features"
            )


def _check_num_regions(num_regions: Any, shape: tuple[int, ...], label: Label) -> None:
    if num_regions.dtype.kind not in "iu" or num_regions.shape != shape[:1]:
        raise DataError(
            f"{label('num_regions')} is {num_regions.dtype} of shape {num_regions.shape}, "
            f"expected integers of shape {shape[:1]}"
        )
    wrong = np.flatnonzero((num_regions < 1) | (num_regions > shape[1]))
    if wrong.size:
        raise DataError(
            f"{label('num_regions', wrong[0])}: {num_regions[wrong[0]]} regions, "
            f"expected 1 to {shape[1]}"
        )


def _ids_per_image(ids: list[str], counts: set[int], images: int, label: Label) -> list[str]:
    if len(ids) not in counts:
        expected = " or ".join(map(str, sorted(counts)))
        raise DataError(f"{label('ids')} has {len(ids)} ids, expected {expected}")
    repeats = len(ids) // images
    first_with: dict[str, int] = {}
    for place, image_id in enumerate(ids):
        first = place - place % repeats
        if image_id != ids[first]:
            raise DataError(
                f"{label('ids', place)}: {image_id!r} differs from {ids[first]!r}, which stands "
                f"for the same image in {label('ids', first)}"
            )
        if first_with.setdefault(image_id, first) != first:
            raise DataError(
                f"{label('ids', place)}: the id {image_id!r} is taken already, see "
                f"{label('ids', first_with[image_id])}"
            )
    return ids[::repeats]
