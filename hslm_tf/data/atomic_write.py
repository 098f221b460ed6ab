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
        OSError: if the draft cannot be written or take the file's place; it names the file.
    """
    # Nobody can guess the name and put a link there that would be written through.
    draft = path.with_name(f"draft-{os.getpid()}-{secrets.token_hex(8)}-{path.name}")
    with naming(path, draft):
        try:
            yield draft
            os.replace(draft, path)
        except BaseException:
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)
            raise


@contextmanager
def naming(path: str | os.PathLike[str], draft: Path | None = None) -> Iterator[None]:
    """Names the file that is written in errors of the system, such as that the disk is full.

    Args:
        path: the file or folder.
        draft: what is written in its place; an error that names it names the file instead.

    Yields:
        Nothing.

    Raises:
        OSError: as the block does; one that names another file stays as it is.
    """
    try:
        yield
    except OSError as error:
        named = error.filename
        if named is not None and (draft is None or str(draft) not in str(named)):
            raise
        if error.errno is None:
            # NumPy counts what it could not write.
            raise OSError(f"{path} cannot be written: {error}") from error
        # Not `error.strerror`, which h5py makes pages of.
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error
