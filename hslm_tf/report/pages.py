"""Pages and their sections from templates. Text from data is escaped."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hslm_tf.command_line import load_extra
from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.drawing import Line, Plot

if TYPE_CHECKING:
    from jinja2 import Environment
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


def render(template: str, **values: object) -> "Markup":
    """Fills a template."""
    environment = _environment()
    from markupsafe import Markup  # a part of Jinja2

    return Markup(environment.get_template(template).render(**values))


def write_page(path: Path, title: str, body: "Markup") -> None:
    """Writes a page that needs no other file, no network and no script."""
    page = render("page.html", title=title, body=body)
    with atomic_write(path) as draft:
        # Damaged ids and captions may hold half a character. It becomes a question mark.
        draft.write_bytes(page.encode("utf-8", "replace"))


@functools.cache
def _environment() -> "Environment":
    jinja2 = load_extra("jinja2", "report")
    return jinja2.Environment(
        loader=jinja2.PackageLoader("hslm_tf.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
