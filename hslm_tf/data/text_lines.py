"""Text files with one item per line: `{split}_caps.txt`, `{split}_ids.txt` and their like."""

import codecs
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.data.errors import DataError, read_file

# A line of Flickr's token files. One name in Flickr8k.token.txt ends in a number: `...jpg.1#0`.
TOKEN_LINE = re.compile(
    r"(?P<name>[^\t]*\.[A-Za-z]{3,4}(?:\.\d+)?)#(?P<number>\d+)\t(?P<caption>.*)"
)
# Bytes of a line: a caption, an id, a word and its vector.
LONGEST_LINE = 1 << 20


def check_line(line: bytes, place: str) -> None:
    """Refuses a line that no caption and no vector is as long as."""
    if len(line) >= LONGEST_LINE:
        raise DataError(f"{place}: {LONGEST_LINE} bytes or more, expected fewer in a line")


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Reads the items of a UTF-8 file, without white space around them."""
    content = read_file(path).removeprefix(codecs.BOM_UTF8)
    # Old Macs ended lines by CR alone.
    end = b"\n" if b"\n" in content else b"\r"
    content = content.rstrip()
    lines = content.split(end) if content else []
    return [_item(line_place(path, row), line) for row, line in enumerate(lines)]


def _item(place: str, line: bytes) -> str:
    check_line(line, place)
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


def line_place(path: str | os.PathLike[str], row: int) -> str:
    """Names a line in an error message."""
    return f"{path}, line {row + 1}"


def write_lines(path: str | os.PathLike[str], items: Sequence[str]) -> None:
    """Writes one item per line as UTF-8, every line ended by a newline."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{item}\n" for item in items)


def read_captions(path: str | os.PathLike[str]) -> list[str]:
    """Reads a captions file and refuses a token file under the name of one."""
    captions = read_lines(path)
    for row, caption in enumerate(captions):
        if TOKEN_LINE.match(caption):
            raise DataError(
                f"{line_place(path, row)}: {caption[:60]!r} begins with the name and number of an "
                "image, as in Flickr's token files, expected a caption alone. Under a name that "
                "ends in .token the file is read with the names"
            )
    return captions


def write_captions(dataset: RetrievalDataset, captions: Path, ids: Path) -> None:
    """Writes the captions and the ids, each file only where there is something to write."""
    if dataset.captions:
        write_lines(captions, dataset.captions)
    written = ids_to_write(dataset)
    if written is not None:
        write_lines(ids, written)


def ids_to_write(dataset: RetrievalDataset) -> list[str] | None:
    """One id per image, or one per caption where images have unequal numbers of captions."""
    counts = np.bincount(dataset.caption_to_image, minlength=dataset.num_images)
    if (counts == counts[0]).all():
        return dataset.image_ids
    ids = ids_or_numbers(dataset)
    return [ids[image] for image in dataset.caption_to_image]
