"""What the commands share: tables at full width, errors of one line."""

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hslm_tf.termination import Terminated, raised_on_sigterm

if TYPE_CHECKING:
    from rich.table import Table

# Embeddings, overrides and isolates: what follows them can be shown in another order.
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what a user can correct into one line on standard error and exit status 1."""
    try:
        with raised_on_sigterm():
            yield
    except Terminated:
        print("Terminated", file=sys.stderr)
        sys.exit(143)
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, ImportError, FloatingPointError) as error:
        sys.exit(f"error: {printable(str(error))}")


def printable(text: str) -> str:
    """Replaces what moves the cursor or turns the direction of writing in a terminal."""
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") and c != "\n" or c in _TURNS else c
        for c in text
    )


def print_table(table: "Table") -> None:
    """Prints a table at its full width: on a narrow terminal rich would cut numbers off."""
    from rich.console import Console

    needed = Console(width=10_000).measure(table).maximum
    Console(width=max(needed, Console().width)).print(table)
