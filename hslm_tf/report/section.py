"""A part of a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hslm_tf.report.data_table import DataTable

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading of its own.

    Args:
        anchor: what links to it, such as `recall`.
        title: its heading.
        body: HTML below the heading, see `rendering.render`.
        tables: the tables that are written as files too.
    """

    anchor: str
    title: str
    body: "Markup"
    tables: Sequence[DataTable] = ()
