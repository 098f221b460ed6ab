"""Names of files and splits: what a folder holds, and which names stay in it."""

import os
from pathlib import PurePath

from hslm_tf.data.errors import DataError


def folder_listing(folder: str | os.PathLike[str]) -> str:
    """The names in a folder, at most twenty, for error messages."""
    if not os.path.isdir(folder):
        return "nothing: there is no such folder"
    names = sorted(os.listdir(folder))
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    shown = (
        f"{name} (a link to nothing)" if is_broken_link(os.path.join(folder, name)) else name
        for name in names[:20]
    )
    return (", ".join(shown) or "no files") + more


def is_broken_link(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a link that leads to nothing."""
    return os.path.islink(path) and not os.path.exists(path)


def stays_inside(name: str) -> bool:
    """Whether a path that a file names can only lie in the folder that it is relative to."""
    path = PurePath(name)
    return not path.is_absolute() and ".." not in path.parts


def check_split(split: str, place: str) -> str:
    """Returns the name of a split if names of files can begin with it."""
    broken = len(split.splitlines()) != 1 or split != split.strip() or split.startswith(".")
    if broken or len(split) > 100 or any(character in split for character in "/\\\t\0"):
        raise DataError(
            f"{place}: the split {split[:110]!r} cannot be the beginning of a file's name"
        )
    return split
