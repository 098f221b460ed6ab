"""The lines of a bottom-up-attention TSV file: where each image lies, and checks of its fields."""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.text_lines import line_place

FIELDS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
FLOAT = np.dtype("<f4")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{2}")
_HEADER = [name.encode() for name in FIELDS]


@dataclass(frozen=True)
class TSVLine:
    """Where one image lies in a file, and what its short fields say.

    Args:
        number: line, from 0.
        offset: byte at which the line starts.
        image_id: name of the image.
        size: width and height that the boxes are relative to.
        num_boxes: regions of the image.
        box_bytes: length of the decoded boxes; 0 where the field is empty.
        feature_bytes: length of the decoded features.
    """

    number: int
    offset: int
    image_id: str
    size: tuple[float, float]
    num_boxes: int
    box_bytes: int
    feature_bytes: int


def index_lines(path: Path) -> list[TSVLine]:
    """Reads a file once to find its lines.

    A byte order mark and lines that are the header are skipped.

    Args:
        path: the file.

    Returns:
        The images in the order of their lines.

    Raises:
        DataError: if a line is not that of an image, two are of the same, or there is none.
    """
    with open(path, "rb") as file:
        return _index(path, file)


def split_fields(content: bytes) -> list[bytes]:
    """Splits a line into bare fields.

    Where the features stand in quotation marks, as `csv` may write them, or in `b'...'`, as Python
    3 writes bytes as text, other fields of the line may be wrapped in the same way.

    Args:
        content: the line.

    Returns:
        Its fields, without quotation marks and `b'...'`.
    """
    fields = content.rstrip(b"\r\n").split(b"\t")
    if fields[-1].startswith(b'"'):
        fields = [_unwrapped(field, b'"').replace(b'""', b'"') for field in fields]
    if fields[-1].startswith(b"b'"):
        fields = [_unwrapped(field, b"b'") for field in fields]
    return fields


def _unwrapped(field: bytes, opening: bytes) -> bytes:
    if len(field) > len(opening) and field.startswith(opening) and field.endswith(opening[-1:]):
        return field[len(opening) : -1]
    return field


def _index(path: Path, file: Iterable[bytes]) -> list[TSVLine]:
    lines: list[TSVLine] = []
    first_with: dict[str, int] = {}
    next_offset = 0
    for number, content in enumerate(file):
        offset, next_offset = next_offset, next_offset + len(content)
        fields = split_fields(content if number else content.removeprefix(codecs.BOM_UTF8))
        if fields == _HEADER:
            continue
        try:
            line = _parse(number, offset, fields)
            _check(line, lines[0] if lines else line)
        except ValueError as error:
            raise DataError(f"{line_place(path, number)}: {error}") from error
        if first_with.setdefault(line.image_id, number) != number:
            raise DataError(
                f"{line_place(path, number)}: the image {line.image_id!r} stands already on line "
                f"{first_with[line.image_id] + 1}"
            )
        lines.append(line)
    if not lines:
        raise DataError(f"{path} has no line of an image")
    return lines


def _parse(number: int, offset: int, fields: list[bytes]) -> TSVLine:
    expected = f"expected {len(FIELDS)}: {', '.join(FIELDS)}"
    if len(set(fields) & set(_HEADER)) > 1:
        found = b", ".join(fields).decode(errors="replace")
        raise ValueError(f"the header names other columns, {found}; {expected}")
    if len(fields) != len(FIELDS):
        found = f"{len(fields)} fields, {expected}, with tabs between them"
        if fields[-1].startswith(b'"'):
            found += "; the last one opens a quotation mark and does not close it on its line"
        raise ValueError(found)
    image_id, width, height, num_boxes, boxes, features = fields
    return TSVLine(
        number=number,
        offset=offset,
        image_id=image_id.decode("utf-8").strip(),
        size=(float(width), float(height)),
        num_boxes=int(num_boxes),
        box_bytes=_decoded_length("boxes", boxes),
        feature_bytes=_decoded_length("features", features),
    )


def _decoded_length(field: str, text: bytes) -> int:
    if text and not _BASE64.match(text):
        raise ValueError(f"{field} begins with {text[:12].decode(errors='replace')}, not base64")
    if len(text) % 4:
        raise ValueError(f"{field} is truncated: {len(text)} base64 characters, not groups of 4")
    return len(text) // 4 * 3 - text[-2:].count(b"=")


def _check(line: TSVLine, first: TSVLine) -> None:
    if not line.image_id:
        raise ValueError("image_id is empty")
    if line.num_boxes < 1:
        raise ValueError(f"num_boxes is {line.num_boxes}, expected at least 1")
    if not all(0 < side < float("inf") for side in line.size):
        raise ValueError(f"the image is {line.size[0]} x {line.size[1]}, expected a positive size")
    region_bytes = first.feature_bytes / first.num_boxes
    if region_bytes % FLOAT.itemsize or line.feature_bytes != line.num_boxes * region_bytes:
        raise ValueError(
            f"features hold {line.feature_bytes} bytes, which do not fit num_boxes = "
            f"{line.num_boxes} regions of {region_bytes / FLOAT.itemsize:g} float32 numbers"
        )
    expected = line.num_boxes * 4 * FLOAT.itemsize if first.box_bytes else 0
    if line.box_bytes != expected:
        raise ValueError(f"boxes hold {line.box_bytes} bytes, expected {expected}")
