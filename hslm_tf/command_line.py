"""How every command ends when something goes wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what a user can mend into one line on standard error and exit status 1.

    Ctrl-C ends a command with 130, as a shell does. Anything else is a defect of the program and
    keeps its traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, ImportError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
