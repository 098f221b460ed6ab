"""A table as data: shown in a page, and written as Markdown and CSV beside it."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataTable:
    """Cells with headings.

    Args:
        name: name of its files, without a suffix.
        title: what it shows.
        columns: headings.
        rows: cells as they are shown, as many as there are columns.
        marked: numbers of rows that stand out, such as one's own among published ones.
        note: what a reader has to know, below the table.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = field(default_factory=frozenset)
    note: str = ""

    def markdown(self) -> str:
        """The table as Markdown, rows that stand out in bold."""
        lines = [f"## {self.title}", "", _line(self.columns), _line(["---"] * len(self.columns))]
        for number, row in enumerate(self.rows):
            bold = number in self.marked
            lines.append(_line([f"**{cell}**" if bold and cell else cell for cell in row], True))
        return "\n".join([*lines, *(["", self.note] if self.note else [])]) + "\n"

    def csv(self) -> str:
        """The table as CSV."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()


def _line(cells: Sequence[str], escaped: bool = False) -> str:
    if escaped:
        cells = [_plain(cell) for cell in cells]
    return f"| {' | '.join(cells)} |"


def _plain(cell: str) -> str:
    """Nothing in a cell ends it, or is taken for HTML."""
    cell = cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return " ".join(cell.split())
