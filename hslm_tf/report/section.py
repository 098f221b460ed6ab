"""A part of a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hslm_tf.report.data_table import DataTable
from hslm_tf.report.drawing import Line, Plot
from hslm_tf.report.rendering import render

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading of its own."""

    anchor: str
    title: str
    body: "Markup"
    tables: Sequence[DataTable] = ()


def plain_section(
    anchor: str,
    title: str,
    text: Sequence[str],
    tables: Sequence[DataTable] = (),
    plots: Sequence[Plot] = (),
    legend: Sequence[Line] = (),
) -> Section:
    """Makes a section of paragraphs, plots and tables, in this order."""
    body = render("section.html", text=text, tables=tables, plots=plots, legend=legend)
    return Section(anchor, title, body, tables)
