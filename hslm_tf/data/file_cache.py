"""A cache of values read from files, each kept until its file changes."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_Value = TypeVar("_Value")


def cached_by_file(
    size: int = 1,
) -> Callable[[Callable[[Path], _Value]], Callable[[Path], _Value]]:
    """Decorates a function of a file so that the splits of one collection read it once.

    Args:
        size: values kept; the one that was asked for longest ago is dropped.

    Returns:
        The decorator. Callers share a value and must not change it.
    """

    def decorate(read: Callable[[Path], _Value]) -> Callable[[Path], _Value]:
        @functools.lru_cache(maxsize=size)
        def cached(path: Path, changed: int, length: int) -> _Value:
            return read(path)

        @functools.wraps(read)
        def of_file(path: Path) -> _Value:
            state = os.stat(path)
            return cached(Path(path), state.st_mtime_ns, state.st_size)

        return of_file

    return decorate
