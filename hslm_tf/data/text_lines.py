"""One item per line: the caption and id files of the field."""

import codecs
import os
from collections.abc import Sequence

from hslm_tf.data.errors import DataError


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Reads a UTF-8 text file of one item per line."""
    with open(path, "rb") as file:
        content = file.read().removeprefix(codecs.BOM_UTF8)
    lines = content.split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return [_item(line_place(path, row), line) for row, line in enumerate(lines)]


def line_place(path: str | os.PathLike[str], row: int) -> str:
    """Names a line in an error message."""
    return f"{path}, line {row + 1}"


def write_lines(path: str | os.PathLike[str], items: Sequence[str]) -> None:
    """Writes one item per line as UTF-8, every line ended by a newline."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{item}\n" for item in items)


def _item(place: str, line: bytes) -> str:
    try:
        item = line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: byte {line[error.start]:#04x} at column {error.start + 1} is not valid UTF-8"
        ) from error
    if "\0" in item:
        raise DataError(f"{place}: a zero byte at column {item.index(chr(0)) + 1}, expected text")
    if not item:
        raise DataError(f"{place}: the line is empty and others follow it, expected some text")
    return item
