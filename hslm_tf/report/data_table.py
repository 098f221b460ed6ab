"""A table as data: shown in a page or on a terminal, and written as Markdown and CSV."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class DataTable:
    """Cells with headings."""

    name: str  # of its files
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()  # rows in bold
    note: str = ""
    text_columns: frozenset[int] = frozenset({0})  # the others hold numbers
    pictures: Mapping[tuple[int, int], str] = field(default_factory=dict)  # by row and column
    folded: bool = False  # in a page, as long tables are

    def markdown(self) -> str:
        """The table as Markdown, rows that stand out in bold."""
        rules = [
            "---" if number in self.text_columns else "---:" for number in range(len(self.columns))
        ]
        lines = [
            f"## {markdown_text(self.title)}",
            "",
            _line(map(markdown_text, self.columns)),
            _line(rules),
        ]
        for number, row in enumerate(self.rows):
            cells = [markdown_text(cell) for cell in row]
            if number in self.marked:
                cells = [cell and f"**{cell}**" for cell in cells]
            lines.append(_line(cells))
        return "\n".join([*lines, *(["", markdown_text(self.note)] if self.note else [])]) + "\n"

    def csv(self) -> str:
        """The table as CSV."""
        text = io.StringIO()
        rows = [[_inert(cell) for cell in row] for row in (self.columns, *self.rows)]
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue()

    def rich(self) -> Table:
        """The table for `print_table`."""
        table = Table(
            title=escape(self.title),
            caption=escape(self.note) or None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        for number, heading in enumerate(self.columns):
            text = number in self.text_columns
            table.add_column(escape(heading), justify="left" if text else "right", no_wrap=not text)
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table


def group_rows(groups: Sequence[str], *values: np.ndarray) -> list[tuple[str, ...]]:
    """Count of each group and means of its values in percent; the largest group first, all last."""
    names, counts = np.unique(groups, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    chosen = [(str(name), np.array(groups) == name) for name in names[order]]
    return [
        (name, str(mask.sum()), *(f"{100 * part[mask].mean():.1f}" for part in values))
        for name, mask in (*chosen, ("all", np.ones(len(groups), bool)))
    ]


def _inert(cell: str) -> str:
    """Keeps a spreadsheet from running a caption as a formula."""
    # Spreadsheets in Japanese take the wide signs, too.
    formula = re.match(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]", cell) and not re.fullmatch(
        r"[+-][\d.,]+(?:±[\d.]+)?", cell
    )
    return f"'{cell}" if formula else cell


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown_text(text: str) -> str:
    """Text in one line that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|&~$])", r"\\\1", " ".join(text.split()))
