"""TSV files of region features: bottom-up attention, LXMERT, VinVL and Oscar.

Bottom-up attention (Anderson et al., CVPR 2018) has six columns, LXMERT (Tan and Bansal, EMNLP
2019) ten. VinVL (Zhang et al., CVPR 2021) and Oscar have an id and a JSON, or an id, a count and
the features.
"""

import binascii
import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hslm_tf.data.atomic_write import naming
from hslm_tf.data.errors import DataError
from hslm_tf.data.formats.image import Image, Part
from hslm_tf.data.json_object import parse_object
from hslm_tf.data.regular_file import regular_file
from hslm_tf.data.text_lines import line_place

FIELDS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT_FIELDS = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features"),
)
# LXMERT's other names.
_SAME = {"img_id": "image_id", "img_w": "image_w", "img_h": "image_h"}
_COLUMNS = (
    FIELDS,
    tuple(_SAME.get(name, name) for name in LXMERT_FIELDS),
    ("image_id", "num_boxes", "features"),
    ("image_id", "json"),
)
_EXPECTED = (
    f"{len(FIELDS)}: {', '.join(FIELDS)}, or {len(LXMERT_FIELDS)}: {', '.join(LXMERT_FIELDS)}"
)
_FLOAT = np.dtype("<f4")
_LONGEST_HEADER = 1000
# The largest detectors give 100 regions of 2,054 numbers, in base64 one megabyte.
_LONGEST_LINE = 1 << 27
_MOST_FIELDS = 1000
# VinVL's features end in x0, y0, x1, y1, width and height, as parts of the image.
_VINVL_WIDTH = 2054


class _Record(NamedTuple):
    """One line: regions `[N, F]`, and boxes `[N, 4]` as parts of the image, or None."""

    id: str
    regions: np.ndarray
    boxes: np.ndarray | None


def is_tsv(path: Path) -> bool:
    """Whether a name is that of a TSV file, or of a part of one (`.tsv.0`)."""
    return re.search(r"\.tsv(\.\d+)?\Z", path.name, re.IGNORECASE) is not None


def read_tsv(path: Path) -> Iterator[Image]:
    """Reads a file line by line; lines that are the header are skipped."""
    columns: tuple[str, ...] | None = None
    empty = True
    with naming(path), open(regular_file(path), "rb") as file:
        number, offset = 0, 0
        while content := file.readline(_LONGEST_LINE):
            place = line_place(path, number)
            if len(content) == _LONGEST_LINE:
                raise DataError(f"{place} is longer than {_LONGEST_LINE} bytes")
            fields = _fields(content)
            names = _names(fields) if len(content) < _LONGEST_HEADER else ()
            if columns is None:
                columns = _columns(path, fields, names)
            if names != columns:
                empty = False
                yield _image(path, place, offset, columns, _record(place, fields, columns))
            number, offset = number + 1, file.tell()
    if empty:
        raise DataError(f"{path} has no line of an image")


def _image(path: Path, place: str, offset: int, columns: tuple[str, ...], record: _Record) -> Image:
    # The record itself must not stay in memory.
    image_id, shape = record.id, record.regions.shape

    def read(part: Part) -> np.ndarray:
        with open(path, "rb") as file:
            file.seek(offset)
            fields = _fields(file.readline(_LONGEST_LINE))
        now = _record(f"{place} was whole when the file was opened", fields, columns)
        if (now.id, now.regions.shape) != (image_id, shape):
            raise DataError(f"{place} is not what it was when the file was opened")
        return getattr(now, part)

    return Image(image_id, place, *shape, _FLOAT, record.boxes is not None, read)


def _fields(content: bytes) -> list[bytes]:
    """Splits a line into bare fields."""
    fields = content.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n").split(b"\t", _MOST_FIELDS)
    # Only where the features are wrapped, by `csv` or by Python 3's text of bytes, other fields of
    # the line are, too.
    if fields[-1].startswith(b'"'):
        fields = [_unwrapped(field, b'"').replace(b'""', b'"') for field in fields]
    if fields[-1].startswith(b"b'"):
        fields = [_unwrapped(field, b"b'") for field in fields]
    return fields


def _unwrapped(field: bytes, opening: bytes) -> bytes:
    if len(field) > len(opening) and field.startswith(opening) and field.endswith(opening[-1:]):
        return field[len(opening) : -1]
    return field


def _names(fields: list[bytes]) -> tuple[str, ...]:
    names = (field.decode(errors="replace").strip()[:40] for field in fields)
    return tuple(_SAME.get(name, name) for name in names)


def _columns(path: Path, fields: list[bytes], names: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a file, by its first line."""
    if len(set(names) & {*FIELDS, *LXMERT_FIELDS}) > 1:
        if set(FIELDS) - set(names) or len(set(names)) < len(names):
            raise DataError(
                f"{line_place(path, 0)}: the header names other columns, {', '.join(names)}; "
                f"expected {_EXPECTED}"
            )
        return names
    for columns in _COLUMNS:
        # Two joined lines of VinVL's have as many fields as a line of Oscar's.
        if len(fields) == len(columns) and not (len(fields) == 3 and fields[1].startswith(b"{")):
            return columns
    if fields == [b""] and path.stat().st_size < 8:
        raise DataError(f"{path} has no line of an image")
    raise DataError(f"{line_place(path, 0)}: {_wrong_number(fields, _EXPECTED, *_COLUMNS)}")


def _wrong_number(fields: list[bytes], expected: str, *known: tuple[str, ...]) -> str:
    more = " or more" if len(fields) > _MOST_FIELDS else ""
    message = f"{len(fields)}{more} fields, expected {expected}, with tabs between them"
    if fields[-1].startswith(b'"'):
        message += "; the last one opens a quotation mark and does not close it on its line"
    if len(fields) + 1 in (2 * len(columns) for columns in known):
        message += "; two lines seem to be joined, without the line break between them"
    return message


def _record(place: str, fields: list[bytes], columns: tuple[str, ...]) -> _Record:
    try:
        if len(fields) != len(columns):
            expected = f"{len(columns)}: {', '.join(columns)}"
            raise ValueError(_wrong_number(fields, expected, columns))
        line: dict[str, Any] = dict(zip(columns, fields, strict=True))
        image_id = line["image_id"].decode("utf-8").strip()
        if not image_id or len(image_id.splitlines()) > 1 or "\0" in image_id:
            raise ValueError(f"image_id is {image_id!r}, expected one line of text")
        text = line.get("json", line.get("features", b""))
        if "json" in line or text.startswith(b"{"):
            content = parse_object(text, place)
            if "objects" in content:
                return _Record(image_id, *_of_objects(content))
            counts = content["num_boxes"], _count(line.get("num_boxes", content["num_boxes"]))
            if counts[0] != counts[1]:
                raise ValueError("num_boxes is {} in the JSON and {} beside it".format(*counts))
            line = content
        return _Record(image_id, *_of_arrays(line))
    except DataError:
        raise
    except KeyError as error:
        raise DataError(f"{place}: {error} is missing") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{place}: {error}") from error


def _of_arrays(line: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Regions and boxes of one array of features, and perhaps one of boxes."""
    count, size = _count(line["num_boxes"]), _size(line)
    regions = _numbers("features", _base64("features", line["features"]), count)
    boxes = _base64("boxes", line.get("boxes") or b"")
    if boxes:
        corners = _numbers("boxes", boxes, count)
        if corners.shape[1] != 4:
            raise ValueError(f"boxes hold {len(boxes)} bytes, expected {count * 16}")
        return regions, corners if size is None else corners / size
    return regions, regions[:, 2048:2052] if regions.shape[1] == _VINVL_WIDTH else None


def _of_objects(content: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Regions and boxes of VinVL's predictions, where every object has a feature and a box."""
    objects, size = content["objects"], _size(content)
    if not isinstance(objects, list) or not objects:
        raise ValueError(f"objects is {str(objects)[:40]}, expected a list of at least one")
    features = [_base64("feature", each["feature"]) for each in objects]
    if len({len(feature) for feature in features}) > 1:
        raise ValueError("features of the objects differ in length")
    regions = _numbers("feature", b"".join(features), len(objects))
    if size is None:
        return regions, None
    corners = np.array([each["rect"] for each in objects], _FLOAT)
    if corners.shape != (len(objects), 4) or not np.isfinite(corners).all():
        raise ValueError("rect of the objects is not four finite numbers each")
    return regions, corners / size


def _size(line: dict[str, Any]) -> np.ndarray | None:
    """Width and height, twice, which boxes are divided by; None where the line has none."""
    if line.get("image_w") is None:
        return None
    sides, size = (line["image_w"], line["image_h"]), np.zeros(2, _FLOAT)
    with suppress(ValueError, TypeError, OverflowError), np.errstate(over="ignore"):
        size = np.array([*map(float, sides)]).astype(_FLOAT)
    if not (np.isfinite(size).all() and (size > 0).all()):
        shown = " x ".join(map(_shown, sides))
        raise ValueError(f"the image is {shown}, expected a positive size")
    return np.tile(size, 2)


def _count(value: object) -> int:
    """A number of regions, as text or in a JSON."""
    if isinstance(value, bytes) and re.fullmatch(rb" *\d{1,9} *", value):
        value = int(value)
    if type(value) is not int or value < 1:
        raise ValueError(f"num_boxes is {_shown(value)}, expected a whole number of at least 1")
    return value


def _shown(value: object) -> str:
    return value[:12].decode(errors="replace") if isinstance(value, bytes) else str(value)[:12]


def _base64(field: str, text: str | bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{field} begins with {_shown(text)}, and is not base64: {error}"
        ) from error


def _numbers(field: str, content: bytes, count: int) -> np.ndarray:
    if not content or len(content) % (count * _FLOAT.itemsize):
        raise ValueError(
            f"{field} hold {len(content)} bytes, which do not fit num_boxes = {count} regions of "
            "float32 numbers"
        )
    numbers = np.frombuffer(content, _FLOAT).reshape(count, -1)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{field} hold NaN or infinity")
    return numbers
