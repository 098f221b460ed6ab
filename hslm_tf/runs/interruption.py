"""Ctrl-C and SIGTERM while a run trains: it stops between two steps, where it can be saved."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from hslm_tf.command_line import Terminated

_ERRORS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


class Interruption:
    """Keeps the first signal until a place where training can stop; the second stops it at once."""

    def __init__(self) -> None:
        self.stopped = False
        self._signal: signal.Signals | None = None
        self._at_once = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in _ERRORS:
                handler = signal.getsignal(number)
                if handler not in (signal.SIG_IGN, None):
                    self._handlers[number] = handler
                    signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if error is None:
            self.check()

    def check(self) -> None:
        """Says that training can stop here."""
        if self._signal is not None:
            self.stopped = True
            raise _ERRORS[self._signal]

    def at_once(self, function: Callable) -> Callable:
        """Wraps what takes long and changes nothing, such as a validation: it stops at once."""

        def stoppable(*args: Any) -> Any:
            self.check()
            self._at_once = True
            try:
                return function(*args)
            finally:
                self._at_once = False

        return stoppable

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._signal is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            # The second signal stops anywhere, so a stop at a good place may be half undone.
            self.stopped = False
            raise _ERRORS[signal.Signals(number)]
        self._signal = signal.Signals(number)
        if self._at_once:
            self.check()
