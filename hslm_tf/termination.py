"""SIGTERM as an exception, so that a command that is told to end cleans up and says so."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was told to end by SIGTERM, as a scheduler does when time is up."""


@contextmanager
def raised_on_sigterm() -> Iterator[None]:
    """Raises `Terminated` where the program stands when SIGTERM comes."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Terminated
