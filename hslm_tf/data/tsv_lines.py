"""The lines of a TSV file of region features: where each image lies, and checks of its fields.

Two tools wrote such files: bottom-up attention (Anderson et al., CVPR 2018), with six columns, and
LXMERT (Tan and Bansal, EMNLP 2019), with ten.
"""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.file_cache import cached_by_file
from hslm_tf.data.text_lines import line_place

FIELDS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT_FIELDS = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features"),
)
FLOAT = np.dtype("<f4")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{2}")
_LONGEST_HEADER = 1000
# LXMERT's other names.
_SAME = {"img_id": "image_id", "img_w": "image_w", "img_h": "image_h"}


@dataclass(frozen=True)
class Columns:
    """What the fields of a line are.

    Args:
        names: a name for every field, those of `FIELDS` among them.
        written_by: the tool that writes such files.
        in_header: whether a header names them.
    """

    names: tuple[str, ...]
    written_by: str
    in_header: bool = False

    def place(self, field: str) -> int:
        """Where a field stands.

        Args:
            field: one of `FIELDS`.

        Returns:
            Its place in the line, from 0.
        """
        return self.names.index(field)

    def __str__(self) -> str:
        """How the fields were recognised, for messages."""
        recognised_by = "a header of" if self.in_header else "lines of"
        return f"{recognised_by} {len(self.names)} columns"


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


def read_columns(path: Path) -> Columns:
    """Reads the first line of a file to tell its columns.

    Args:
        path: the file.

    Returns:
        The columns that a header names, else the six of bottom-up attention or the ten of LXMERT.

    Raises:
        DataError: if the line is neither.
    """
    with open(path, "rb") as file:
        return _columns(path, file.readline())


@cached_by_file(size=8)
def index_lines(path: Path) -> tuple[Columns, list[TSVLine]]:
    """Reads a file once to find its lines.

    A byte order mark and lines that are the header are skipped.

    Args:
        path: the file.

    Returns:
        The columns, and the images in the order of their lines.

    Raises:
        DataError: if a line is not that of an image, two are of the same, or there is none.
    """
    columns = read_columns(path)
    with open(path, "rb") as file:
        return columns, _index(path, file, columns)


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


def _columns(path: Path, first_line: bytes) -> Columns:
    fields = split_fields(first_line.removeprefix(codecs.BOM_UTF8))
    expected = (
        f"{len(FIELDS)}: {', '.join(FIELDS)}, or {len(LXMERT_FIELDS)}: {', '.join(LXMERT_FIELDS)}"
    )
    names = _names(fields)
    if len(set(names) & {*FIELDS, *LXMERT_FIELDS}) > 1:
        missing = set(FIELDS) - set(names)
        if missing or len(set(names)) < len(names):
            raise DataError(
                f"{line_place(path, 0)}: the header names other columns, {', '.join(names)}; "
                f"expected {expected}"
            )
        known = {FIELDS: "bottom-up attention", _renamed(LXMERT_FIELDS): "LXMERT"}
        return Columns(names, known.get(names, "another tool"), in_header=True)
    if len(fields) == len(FIELDS):
        return Columns(FIELDS, "bottom-up attention")
    if len(fields) == len(LXMERT_FIELDS):
        return Columns(_renamed(LXMERT_FIELDS), "LXMERT")
    if not first_line.strip() and path.stat().st_size == len(first_line):
        raise DataError(f"{path} has no line of an image")
    raise DataError(f"{line_place(path, 0)}: {_wrong_number(fields, expected)}")


def _names(fields: list[bytes]) -> tuple[str, ...]:
    return _renamed(field.decode(errors="replace").strip()[:40] for field in fields)


def _renamed(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(_SAME.get(name, name) for name in names)


def _wrong_number(fields: list[bytes], expected: str) -> str:
    found = f"{len(fields)} fields, expected {expected}, with tabs between them"
    if fields[-1].startswith(b'"'):
        found += "; the last one opens a quotation mark and does not close it on its line"
    return found


def _index(path: Path, file: Iterable[bytes], columns: Columns) -> list[TSVLine]:
    lines: list[TSVLine] = []
    first_with: dict[str, int] = {}
    next_offset = 0
    for number, content in enumerate(file):
        offset, next_offset = next_offset, next_offset + len(content)
        fields = split_fields(content if number else content.removeprefix(codecs.BOM_UTF8))
        if len(content) < _LONGEST_HEADER and _names(fields) == columns.names:
            continue
        try:
            line = _parse(number, offset, fields, columns)
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


def _parse(number: int, offset: int, fields: list[bytes], columns: Columns) -> TSVLine:
    if len(fields) != len(columns.names):
        expected = f"{len(columns.names)}: {', '.join(columns.names)}"
        raise ValueError(_wrong_number(fields, expected))
    image_id, width, height, num_boxes, boxes, features = (
        fields[columns.place(field)] for field in FIELDS
    )
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
    if "\0" in line.image_id:
        raise ValueError(f"image_id is {line.image_id!r}, expected text without a zero byte")
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
