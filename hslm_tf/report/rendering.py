"""Pages from templates; whatever comes from data is escaped."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.extras import load_extra

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, **values: object) -> "Markup":
    """Fills a template."""
    environment = _environment()
    # It comes with Jinja2.
    from markupsafe import Markup

    return Markup(environment.get_template(template).render(**values))


def write_page(path: Path, title: str, body: "Markup") -> None:
    """Writes a page that needs no other file, no network and no script."""
    page = render("page.html", title=title, body=body)
    with atomic_write(path) as draft:
        # Half of a character, as damaged ids and captions hold, becomes a question mark.
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
