"""Files that are complete or not there."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Gives a draft to write to, which becomes the file when the block ends without an error.

    Until then an older file stays as it is. The draft lies beside the file, has a name of its own,
    which ends in the file's name, and may be a folder. An error removes it.

    Args:
        path: the file or folder.

    Yields:
        Path of the draft.

    Raises:
        OSError: if the draft cannot take the file's place.
    """
    # Nobody can guess the name and put a link there that would be written through.
    draft = path.with_name(f"draft-{os.getpid()}-{secrets.token_hex(8)}-{path.name}")
    try:
        yield draft
        os.replace(draft, path)
    except BaseException:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
        raise
