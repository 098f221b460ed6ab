"""Rows of figures as a table, and as JSON lines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from hslm_tf.command_line import print_table


def print_rows(rows: Sequence[Mapping[str, Any]], out: Path | None = None) -> None:
    """Prints rows as a table.

    Args:
        rows: figures by name; a row may lack some.
        out: file to append the rows to as JSON lines.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*(column.replace("_", " ") for column in columns))
    for row in rows:
        cells = (row.get(name, "") for name in columns)
        table.add_row(*(f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells))
    print_table(table)
    if out is not None:
        with open(out, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
