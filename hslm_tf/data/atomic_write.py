"""Files that are complete or not there, and that one process writes at a time."""

import errno
import os
import platform
import re
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_KEPT_END = 40
_DRAFT = re.compile(r"\.draft-([0-9a-f]+)-(\d+)-[0-9a-f]{16}-(.*)", re.DOTALL)
# Drafts of this process: another process of its number may have left some, too.
_OPEN: set[Path] = set()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A draft of a file or a folder, which takes its place when the block ends without an error."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FileExistsError(f"{path} is a pipe, a socket or a device, expected a name for a file")
    with drafted(path) as draft, naming(path, draft):
        yield draft
        try:
            os.replace(draft, path)
        except OSError as error:
            if draft.is_dir() and path.exists():
                raise FileExistsError(f"{path} exists already, another process wrote it") from error
            raise


@contextmanager
def drafted(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """A draft in a folder or beside its target, removed at the end, as those of killed writers."""
    folder = folder or path.parent
    # The end of the name is kept, with the suffix: the whole name may be as long as names can be.
    end = path.name[-_KEPT_END:]
    remove_drafts(folder, end)
    # Nobody can guess the name and put a link there that would be written through.
    draft = folder / f".draft-{_machine()}-{os.getpid()}-{secrets.token_hex(8)}-{end}"
    _OPEN.add(draft)
    try:
        yield draft
    finally:
        _remove(draft)
        _OPEN.discard(draft)


def remove_drafts(folder: Path, name: str | None = None) -> None:
    """Removes drafts that killed processes left in a folder: all, or those of one target."""
    for draft in folder.glob(".draft-*"):
        found = _DRAFT.fullmatch(draft.name)
        if not found or name not in (None, found[3]) or draft in _OPEN:
            continue
        if found[1] == _machine() and not _is_running(int(found[2])):
            _remove(draft)


def _machine() -> str:
    """Where this process has its number: other machines and containers have others of it."""
    numbers = Path("/proc/self/ns/pid")
    place = os.readlink(numbers) if numbers.is_symlink() else ""
    return f"{zlib.crc32(f'{platform.node()} {place}'.encode()):08x}"


def _remove(draft: Path) -> None:
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        draft.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Whether another process of this number is running."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def locked(path: Path, message: str | None) -> Iterator[None]:
    """Keeps other processes from a file or a folder; without a message it waits for its turn."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    opened = os.open(path, flags, 0o666)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | (fcntl.LOCK_NB if message else 0))
        except BlockingIOError as error:
            raise BlockingIOError(message) from error
        except OSError:
            # The file system knows no locks.
            pass
        yield
    finally:
        os.close(opened)


def take_room(file: int, size: int) -> None:
    """Takes a file's blocks: a write into a memory map that finds no room ends the process."""
    # Systems without this call, such as macOS, and file systems that refuse it are trusted.
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise


@contextmanager
def naming(path: str | os.PathLike[str], draft: Path | None = None) -> Iterator[None]:
    """Names the file, not its draft, in errors of the system such as a full or broken disk."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if name is not None and (draft is None or str(draft) not in str(name)):
            raise
        if error.errno is None and str(error).startswith(str(path)):
            raise
        if error.errno is None:
            # NumPy counts what it could not write.
            raise OSError(f"{path} cannot be written: {error}") from error
        # Not `error.strerror`, which h5py makes pages of.
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error
