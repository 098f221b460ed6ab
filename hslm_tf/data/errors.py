"""The error of a data file that is missing or wrong, and of what is no file."""

import os
import stat
from pathlib import Path

from hslm_tf.data.atomic_write import naming

# A message that quotes a damaged file may be as long as the file.
_LONGEST = 2000


class DataError(ValueError):
    """A data file does not hold what its format says.

    Args:
        message: names the file and the place. It becomes one line, and of one that is very long
            its beginning and its end are kept.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())
        if len(line) > _LONGEST:
            line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
        super().__init__(line)


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
