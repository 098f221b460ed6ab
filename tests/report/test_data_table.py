import csv
import io

import pytest

from hslm_tf.report.data_table import DataTable
from hslm_tf.report.pages import render
from tests.report.pages import HOSTILE, Page


def test_markdown_marks_rows_and_aligns_numbers():
    table = DataTable(
        "t",
        "Title",
        ("name", "value"),
        [("a", "1"), ("b", "")],
        marked=frozenset({1}),
        note="Note.",
    )
    assert table.markdown() == (
        "## Title\n\n| name | value |\n| --- | ---: |\n| a | 1 |\n| **b** |  |\n\nNote.\n"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_cell_holds_is_text(text):
    table = DataTable("t", text, (text, "value"), [(text, "1")], note=text)
    rows = list(csv.reader(io.StringIO(table.csv())))
    assert rows == [[text, "value"], [text, "1"]]
    page = Page(str(render("table.html", table=table)))
    tags = "div table caption span thead tr th th tbody tr td td p".split()
    assert [tag for tag, _ in page.elements] == tags
    # Caption, heading, cell and note.
    assert [data for data in page.text if data.strip()].count(text) == 4
    assert page.all("div")[0]["aria-label"] == text
    title, _, columns, _, cells, _, note = table.markdown().splitlines()
    assert columns.replace("\\|", "").count("|") == cells.replace("\\|", "").count("|") == 3
    for line in (title.removeprefix("## "), columns[1:], cells[1:], note):
        assert "\\<" in line or "<" not in line
        for mark in "<[*`&$":
            assert line.count(mark) == line.count("\\" + mark), line


@pytest.mark.parametrize(
    "cell, written",
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("- a dash", "'- a dash"),
        ("\t=cmd", "'\t=cmd"),
        ("-0.5", "-0.5"),
        ("+1.2±0.3", "+1.2±0.3"),
        ("a = b", "a = b"),
    ],
)
def test_a_spreadsheet_runs_no_cell(cell, written):
    table = DataTable("t", "Title", ("name",), [(cell,)])
    assert list(csv.reader(io.StringIO(table.csv()))) == [["name"], [written]]


def test_pictures_stand_in_their_cells():
    table = DataTable(
        "t", "T", ("a", "b"), [("x", "y")], pictures={(0, 1): "data:image/jpeg;base64,A"}
    )
    (image,) = Page(str(render("table.html", table=table))).all("img")
    assert image == {"src": "data:image/jpeg;base64,A", "alt": "", "loading": "lazy"}


def test_a_terminal_shows_text_as_it_is():
    from rich.console import Console

    table = DataTable("t", "[b]T[/b]", ("a",), [("[red]x[/red]",)], note="[i]n")
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table.rich())
    for text in ("[b]T[/b]", "[red]x[/red]", "[i]n"):
        assert text in capture.get()
