"""Examples as TensorBoard's text page makes HTML of them."""

import html
import re

import numpy as np
import pytest
from tensorboard.plugin_util import markdown_to_safe_html

from hslm_tf.report.answered_query import AnsweredQuery, plain

HOSTILE = [
    "a\ttab\nand\r\nlines\u2028more",
    "<script>alert(1)</script>",
    "a | b || c",
    "*bold* _it_ `code` [link](http://a.b) ![i](x)",
    "# no heading",
    "1. no list",
    "&amp; &lt;b&gt; &#124;",
    "\\| \\* {curly} $x^2$ ~~no~~",
    "naïve 犬 🐕",
]


def cells_of(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [
        [html.unescape(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in rows
    ]


def test_the_first_answers_and_the_place_of_the_right_one():
    scores = np.array([0.1, 0.5, 0.9, 0.5, 0.7], np.float32)
    right = np.array([False, True, False, False, False])
    example = AnsweredQuery.from_scores("which", scores, right, k=3)
    np.testing.assert_array_equal(example.answers, [2, 4, 3])
    np.testing.assert_array_equal(example.scores, scores[[2, 4, 3]])
    assert not example.right.any()
    assert example.place == 4, "a wrong answer with the same score stands before the right one"
    page = markdown_to_safe_html(example.as_markdown(["none", "one", "two", "three", "four"]))
    assert cells_of(page) == [
        ["#", "", "score", "answer"],
        ["1", "✗", "0.900", "two"],
        ["2", "✗", "0.700", "four"],
        ["3", "✗", "0.500", "three"],
    ]
    assert "<strong>which</strong>" in page
    assert "First right answer: place 4" in page


def test_a_right_answer_has_another_mark():
    example = AnsweredQuery.from_scores("q", np.array([0.2, 0.4]), np.array([False, True]), 2)
    marks = [row[1] for row in cells_of(markdown_to_safe_html(example.as_markdown(["a", "b"])))]
    assert marks == ["", "✓", "✗"]
    assert example.place == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_shown_as_it_is(text):
    shown = " ".join(text.split())
    example = AnsweredQuery.from_scores(text, np.ones(2), np.array([True, False]), 2)
    page = markdown_to_safe_html(example.as_markdown([text, "other"]))
    assert cells_of(page)[1:] == [["1", "✗", "1.000", "other"], ["2", "✓", "1.000", shown]]
    (query,) = re.findall("<strong>(.*?)</strong>", page)
    assert html.unescape(query) == shown
    tags = {"p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(re.findall(r"</?([a-z]\w*)", page)) == tags
    assert "\n" not in plain(text) and "|" not in plain(text)
