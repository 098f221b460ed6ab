"""Files that are complete or not there, and that one process writes at a time."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A draft of a file or a folder, which takes its place when the block ends without an error."""
    # Nobody can guess the name and put a link there that would be written through.
    # The end of the name is kept, with the suffix: the whole name may be as long as names can be.
    end = path.name[-40:]
    draft = path.with_name(f"draft-{os.getpid()}-{secrets.token_hex(8)}-{end}")
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
def locked(path: Path, message: str) -> Iterator[None]:
    """Keeps other processes from a file or a folder; a process that ends lets it go."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    opened = os.open(path, flags, 0o666)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(message) from error
        except OSError:
            # The file system knows no locks.
            pass
        yield
    finally:
        os.close(opened)


@contextmanager
def naming(path: str | os.PathLike[str], draft: Path | None = None) -> Iterator[None]:
    """Names the file, not its draft, in errors of the system such as a full disk."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if name is not None and (draft is None or str(draft) not in str(name)):
            raise
        if error.errno is None:
            # NumPy counts what it could not write.
            raise OSError(f"{path} cannot be written: {error}") from error
        # Not `error.strerror`, which h5py makes pages of.
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error
