"""Plots as SVG that stands in a page."""

import hashlib
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hslm_tf.command_line import load_extra

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

# Colours that people with any colour vision tell apart (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

# For more lines than colours.
_DASHES = ((), (4, 1.5), (1, 1), (4, 1, 1, 1), (8, 2), (2, 2))

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


class Plot(NamedTuple):
    """A plot with its title."""

    title: str
    svg: "Markup"


class Line(NamedTuple):
    """The name, colour and dashes of a line in a plot."""

    name: str
    colour: str
    dashes: tuple[float, ...]  # none for a solid line


def lines_for(names: Sequence[str]) -> list[Line]:
    """Chooses a look for every line; up to 42 lines differ."""
    return [
        Line(name, COLOURS[number % len(COLOURS)], _DASHES[number // len(COLOURS) % len(_DASHES)])
        for number, name in enumerate(names)
    ]


def new_axes(x: str, y: str = "") -> "Axes":
    """Makes the axes of a figure without a window."""
    load_extra("matplotlib", "report")
    from matplotlib.figure import Figure

    axes = Figure(figsize=(4.4, 2.7), layout="constrained").add_subplot()
    axes.set(xlabel=x, ylabel=y)
    return axes


def plot_of(axes: "Axes", title: str, description: str) -> Plot:
    """Draws a figure as an `svg` element with a description for screen readers."""
    import matplotlib
    from markupsafe import Markup, escape

    text = io.StringIO()
    # Text stays text; equal figures give equal files.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hslm_tf"}):
        axes.figure.savefig(text, format="svg", metadata=_NO_METADATA)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # Several figures stand in one page: an id of one must not be found in another.
    prefix = hashlib.sha256(description.encode()).hexdigest()[:8]
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
    return Plot(title, Markup(svg))
