"""Zip archives, such as `.npz` and `.keras`: what they unpack to is compared with their size."""

import os
import zipfile

from hslm_tf.data.errors import DataError
from hslm_tf.data.regular_file import regular_file

# Bytes that any array may have, and how many times as many as in the archive a larger one may.
LARGEST_ARRAY = 1 << 29
_MOST_PACKED = 64


def check_unpacked(archive: zipfile.ZipFile, name: str, place: str) -> None:
    """Refuses a member that unpacks to far more than the archive holds."""
    member = archive.getinfo(name)
    # The sizes that an archive announces may be wrong, too.
    packed = min(member.compress_size, archive.start_dir)
    if member.file_size > max(LARGEST_ARRAY, _MOST_PACKED * packed):
        raise DataError(
            f"{place}: {name} unpacks from {packed} bytes to {member.file_size}, expected at most "
            f"{LARGEST_ARRAY}, or {_MOST_PACKED} times as many"
        )


def check_archive(path: str | os.PathLike[str]) -> None:
    """Refuses an archive with a wrong checksum, or with a member that unpacks to far more."""
    with zipfile.ZipFile(regular_file(path)) as archive:
        for name in archive.namelist():
            check_unpacked(archive, name, os.fspath(path))
        if damaged := archive.testzip():
            raise DataError(f"the checksum of {damaged} in it is wrong")
