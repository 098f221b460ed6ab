"""One process at a time trains a run."""

import contextlib
import os
from collections.abc import Iterator

from hslm_tf.runs.run_directory import RunDirectory


@contextlib.contextmanager
def locked(run: RunDirectory) -> Iterator[None]:
    """Keeps other processes from training a run; a process that ends in any way lets it go."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    run.path.mkdir(parents=True, exist_ok=True)
    folder = os.open(run.path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"{run.path}: another process trains this run") from error
        except OSError:
            pass
        yield
    finally:
        os.close(folder)
