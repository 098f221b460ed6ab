"""Files that can be read to an end, unlike a pipe or a device."""

import os
import stat
from pathlib import Path

from hslm_tf.data.atomic_write import naming
from hslm_tf.data.errors import DataError


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Reads a file, and names it in errors of the system, such as a disk that cannot be read."""
    with naming(path):
        return regular_file(path).read_bytes()


def regular_file(path: str | os.PathLike[str]) -> Path:
    """Returns a path that can be opened and read to an end: a pipe or a device may have none."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        found = "folder" if stat.S_ISDIR(mode) else "pipe, a socket or a device"
        raise DataError(f"{path} is a {found}, expected a file")
    return Path(path)
