import re

from hslm_tf.report.drawing import lines_for, new_axes, plot_of
from tests.report.pages import Page


def drawn(description):
    axes = new_axes("x")
    axes.plot([1, 2], [3, 4])
    return plot_of(axes, "title", description).svg


def test_a_figure_is_one_element_with_a_text_alternative():
    svg = drawn('<b>"x"</b> & y')
    page = Page(str(svg))
    assert page.elements[0][0] == "svg"
    assert page.all("svg")[0]["aria-label"] == '<b>"x"</b> & y'
    assert "b" not in [tag for tag, _ in page.elements]
    # What SVG is called is the only address in it.
    addresses = set(re.findall(r"https?://[^\"'< ]+", svg))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_equal_figures_are_equal_and_others_share_no_id():
    assert drawn("a") == drawn("a")
    ids = [set(re.findall(r' id="([^"]+)"', drawn(text))) for text in ("a", "b")]
    assert ids[0] and not ids[0] & ids[1]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawn("a")))
    assert used and used <= ids[0]


def test_lines_differ_up_to_42():
    lines = lines_for([str(number) for number in range(42)])
    assert len({(line.colour, line.dashes) for line in lines}) == 42
    assert lines[0].dashes == ()
