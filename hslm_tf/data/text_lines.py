"""Text files with one item per line: `{split}_caps.txt`, `{split}_ids.txt` and their like."""

import codecs
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.data.errors import DataError
from hslm_tf.data.regular_file import read_file

# A caption behind the name of its image, as on the lines of token files: `a.jpg#0`, a tab and text
# in Flickr's, `a.jpg#zhb#0 text` in Flickr8k-CN's, `a.jpg| 0| text` and `a.jpg,text` in Kaggle's,
# `a.jpg`, a tab and text in open_clip's. One name in Flickr8k.token.txt ends in a number,
# `...jpg.1#0`, and one line of Kaggle's Flickr30K lacks the second bar.
TOKEN_LINE = re.compile(
    r"(?P<name>[^\t]*?\.(?i:jpe?g|png|gif|bmp|webp|tiff?|avif|heic)(?:\.\d+)?)"
    r"(?:(?:#(?:[a-z]+#)?|\| *)(?P<number>\d+)(?: *\||\s)|[,\t])\s*(?P<caption>.*)"
)
# Bytes of a line: a caption, an id, a word and its vector.
LONGEST_LINE = 1 << 20


def check_line(line: bytes, place: str) -> None:
    """Refuses a line that no caption and no vector is as long as."""
    if len(line) >= LONGEST_LINE:
        raise DataError(f"{place}: {LONGEST_LINE} bytes or more, expected fewer in a line")


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Reads the items of a UTF-8 file, without white space around them."""
    content = read_file(path).removeprefix(codecs.BOM_UTF8).rstrip()
    # Old Macs ended lines by CR alone.
    end = b"\n" if b"\n" in content else b"\r"
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


def are_token_lines(lines: Sequence[str]) -> bool:
    """Whether lines, of which the first may be a header, are those of a token file."""
    if not lines:
        return False
    first, *others = (TOKEN_LINE.match(line) for line in lines[:20])
    return bool(first and first["number"] or others and all(others))


def check_captions(captions: Sequence[str], place: Callable[[int], str]) -> None:
    """Raises DataError where captions stand behind the names of their images."""
    of_token_file = are_token_lines(captions)
    for row, caption in enumerate(captions):
        match = TOKEN_LINE.match(caption)
        if match and (of_token_file or match["number"]):
            raise DataError(
                f"{place(row)}: {caption[:60]!r} begins with the name of an image, as in the token "
                "files of Flickr, Kaggle and open_clip, expected a caption alone. In a file that "
                "ends in .token it is read with the name: `python -m hslm_tf.convert FILE.token "
                "TARGET`"
            )


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
