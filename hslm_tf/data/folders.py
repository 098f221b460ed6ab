"""Checks which files a data folder holds and lacks."""

import os
from pathlib import Path

from hslm_tf.data.errors import DataError


def require_files(folder: str | os.PathLike[str], paths: list[Path]) -> None:
    """Checks that files exist.

    Args:
        folder: the folder that was asked for.
        paths: the files expected in it.

    Raises:
        DataError: if one is missing; the message lists what the folder holds.
    """
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}; it holds {folder_listing(folder)}")


def folder_listing(folder: str | os.PathLike[str]) -> str:
    """The names in a folder, for error messages.

    Args:
        folder: the folder.

    Returns:
        At most twenty names and how many more there are, or that there is no such folder.
    """
    if not os.path.isdir(folder):
        return "nothing: there is no such folder"
    names = sorted(os.listdir(folder))
    listing = ", ".join(names[:20]) or "no files"
    return listing + (f" and {len(names) - 20} more" if len(names) > 20 else "")
