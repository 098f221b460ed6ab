"""What the commands share: tables at full width, errors of one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what a user can correct into one line on standard error and exit status 1.

    Ctrl-C ends a command with 130, as a shell does. Anything else is a defect of the program and
    keeps its traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, ImportError, FloatingPointError) as error:
        sys.exit(f"error: {error}")


def print_table(table: "Table") -> None:
    """Prints a table at its full width: on a narrow terminal rich would cut numbers off.

    Args:
        table: the table.
    """
    from rich.console import Console

    needed = Console(width=10_000).measure(table).maximum
    Console(width=max(needed, Console().width)).print(table)
