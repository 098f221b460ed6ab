"""Token files of Flickr8k and Flickr30K: a name and number, such as `a.jpg#0`, a tab, a caption."""

import os
import re
from pathlib import Path

from hslm_tf.data.errors import DataError
from hslm_tf.data.text_lines import line_place, read_lines

# One name in Flickr8k.token.txt has a number behind its ending: `...jpg.1#0`.
_LINE = re.compile(r"(?P<name>[^\t]*\.[A-Za-z]{3,4}(?:\.\d+)?)#(?P<number>\d+)\t(?P<caption>.*)")
# The lists of images that lie beside Flickr8k.token.txt.
_FLICKR8K_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "dev": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
# The split of a collection without splits.
ALL = "all"


def read_token_file(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Reads `Flickr8k.token.txt`, `results_20130124.token` or their like."""
    captions: dict[str, list[str]] = {}
    first_with: dict[str, int] = {}
    for row, line in enumerate(read_lines(path)):
        found = _LINE.fullmatch(line)
        if found is None or not found["caption"].strip():
            raise DataError(
                f"{line_place(path, row)}: {line[:60]!r}, expected NAME.jpg#NUMBER, a tab and a "
                "caption"
            )
        key = f"{found['name']}#{found['number']}"
        if first_with.setdefault(key, row) != row:
            raise DataError(
                f"{line_place(path, row)}: {key} stands already on line {first_with[key] + 1}"
            )
        captions.setdefault(found["name"], []).append(found["caption"].strip())
    if not captions:
        raise DataError(f"{path} has no captions")
    return captions


def is_token_file(path: Path) -> bool:
    """Whether a text file looks like a token file."""
    if path.suffix.lower() not in (".token", ".txt") or path.name.endswith("_caps.txt"):
        return False
    if not path.is_file():
        return False
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return _LINE.match(file.readline(10_000)) is not None


def token_splits(path: Path) -> dict[str, Path | None]:
    """The splits of a token file, from lists of names that lie beside it."""
    found: dict[str, Path | None] = {
        split: path.parent / name
        for split, name in _FLICKR8K_LISTS.items()
        if (path.parent / name).is_file()
    }
    for ids in sorted(path.parent.glob("?*_ids.txt")):
        found.setdefault(ids.name.removesuffix("_ids.txt"), ids)
    return found or {ALL: None}


def names_an_image(line: str) -> bool:
    """Whether a line begins as one of a token file."""
    return _LINE.match(line) is not None
