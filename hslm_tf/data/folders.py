"""Checks which files a data folder holds and lacks, and which names stay in it."""

import os
from pathlib import Path, PurePath

from hslm_tf.data.errors import DataError


def require_files(folder: str | os.PathLike[str], paths: list[Path]) -> None:
    """Checks that files exist."""
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}; it holds {folder_listing(folder)}")


def folder_listing(folder: str | os.PathLike[str]) -> str:
    """The names in a folder, for error messages."""
    if not os.path.isdir(folder):
        return "nothing: there is no such folder"
    names = sorted(os.listdir(folder))
    listing = ", ".join(names[:20]) or "no files"
    return listing + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def stays_inside(name: str) -> bool:
    """Whether a path that a file names can only lie in the folder that it is relative to."""
    path = PurePath(name)
    return not path.is_absolute() and ".." not in path.parts


def check_split(split: str, place: str) -> str:
    """Checks that the files of a split can begin with its name."""
    broken = len(split.splitlines()) != 1 or split != split.strip() or split.startswith(".")
    if broken or len(split) > 100 or any(character in split for character in "/\\\t\0"):
        raise DataError(
            f"{place}: the split {split[:110]!r} cannot be the beginning of a file's name"
        )
    return split
