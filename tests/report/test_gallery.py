import os
import re

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.report import gallery
from hslm_tf.report.explanation import ExplainedHit, Explanation
from hslm_tf.report.gallery import Gallery, write_gallery
from hslm_tf.report.pages import render
from tests.report.pages import Page, check_page

EXPLANATION = Explanation(
    ["dog", "cat"],
    np.array([0.9, 0.3]),
    np.array([[0.5, 1], [1, 0]]),
)
BOXES = [[0, 0, 1, 1], [0.5, 0.25, 1, 0.75]]


def hit(boxes=BOXES, **changes):
    shown = ExplainedHit("a.jpg", "dog cat", 0.5, EXPLANATION, np.array(boxes, np.float32))
    return shown._replace(**changes)


def html_of(hits, folder=None):
    return str(Gallery(hits, folder).html(hits))


def write_photograph(folder):
    pixels = tf.zeros((50, 100, 3), tf.uint8)
    tf.io.write_file(str(folder / "a.jpg"), tf.io.encode_jpeg(pixels))


def test_boxes_in_pixels_are_drawn_where_the_size_of_the_image_is_known(tmp_path):
    in_pixels = hit([[0, 0, 100, 50], [50, 25, 100, 50]])
    page = html_of([in_pixels])
    assert "<rect" not in page and "<svg" not in page and "tabindex" not in page
    write_photograph(tmp_path)
    strongest = html_of([in_pixels], tmp_path).split("</g>")[0]
    # A thousand units are the width; the larger box comes first, under the smaller one.
    first, second = strongest.split("<rect")[1:]
    assert ' x="0" y="0" width="1000" height="500" opacity="0.5"' in first
    assert ' x="500" y="250" width="500" height="250"' in second and "opacity" not in second
    assert "<title>dog</title>" in first and "<title>dog</title>" in second


def test_every_word_has_the_regions_that_it_attends_to():
    words = re.findall('<span class="word".*?</span>', html_of([hit()]), re.DOTALL)
    assert [re.search(">([a-z]+)<svg", word)[1] for word in words] == ["dog", "cat"]
    found = [Page(word) for word in words]
    assert found[0].all("rect") == [
        {"x": "0", "y": "0", "width": "1000", "height": "750", "opacity": "0.5"},
        {"x": "500", "y": "188", "width": "500", "height": "374"},
    ]
    # No attention, no region.
    assert found[1].all("rect") == [{"x": "0", "y": "0", "width": "1000", "height": "750"}]
    attributes = [page.all("span")[0] for page in found]
    assert [a["title"] for a in attributes] == ["0.90", "0.30"]
    assert [a["style"] for a in attributes] == ["--shade:1.00", "--shade:0.33"]
    assert all(a["tabindex"] == "0" for a in attributes)
    assert ":has(.word:is(:hover, :focus)) .strongest" in render("gallery.css")


def test_at_most_five_regions_of_a_word():
    corners = np.random.default_rng(0).uniform(0, 0.5, (9, 2))
    attention = np.random.default_rng(2).uniform(0.1, 1, (1, 9))
    shown = hit(
        np.concatenate([corners, corners + 0.3], axis=1),
        explanation=Explanation(["dog"], np.ones(1), attention),
    )
    page = html_of([shown])
    assert page.count("<rect") == 5 + 5
    opacities = [float(value) for value in re.findall('opacity="(.*?)"', page.split("</g>")[1])]
    expected = np.sort(attention[0])[-5:-1] / attention[0].max()
    np.testing.assert_allclose(np.sort(opacities), expected, atol=0.006)


@pytest.mark.parametrize(("right", "mark"), [(True, "✓"), (False, "✗"), (None, "")])
def test_right_and_wrong_are_marked_by_more_than_colour(right, mark):
    page = Page(html_of([hit(right=right)._replace(boxes=None)]))
    name = {True: "right", False: "wrong", None: "unknown"}[right]
    assert page.all("p") == [{"class": name}]
    marks = [span for span in page.all("span") if span.get("class") == "mark"]
    assert marks == ([{"class": "mark", "role": "img", "aria-label": name}] if mark else [])
    assert page.words == f"a.jpg {mark} 0.5000 dog cat".split()
    borders = re.findall(r"\.(right|wrong):only-of-type.*?3px (\w+)", render("gallery.css"))
    assert borders == [("right", "solid"), ("wrong", "dashed")]


def test_a_photograph_is_in_the_page_once_and_in_sight_of_its_captions(tmp_path):
    write_photograph(tmp_path)
    hits = [hit(caption=f"caption {i}", caption_of="b.jpg") for i in range(7)]
    page = Page(html_of(hits, tmp_path))
    (image,), figures = page.all("image"), page.all("figure")
    assert page.all("use") == [{"href": f"#{image['id']}"}] and len(figures) == 2
    assert page.text.count("of b.jpg") == 7


def test_without_weights_the_caption_stands_as_it_is_written():
    page = Page(html_of([hit(caption="A Dog.", explanation=None)]))
    assert page.words == ["a.jpg", "0.5000", "A", "Dog."]


def test_what_came_from_data_is_shown_as_text(tmp_path):
    nasty = "<script>alert(1)</script>\"><img src=x onerror='alert(2)'>{{ 7 * 7 }}"
    explanation = EXPLANATION._replace(words=[nasty, nasty])
    hits = [
        hit(image_id=nasty, caption=nasty, caption_of=nasty, explanation=explanation),
        hit(image_id=nasty, caption=nasty, caption_of=nasty, explanation=None),
    ]
    write_gallery(tmp_path / "a.html", [(nasty, hits)])
    text = (tmp_path / "a.html").read_text("utf-8")
    page = check_page(text)
    assert page.all("img") == [] and page.all("svg")[0]["aria-label"] == nasty
    assert nasty in page.text and "49" not in page.words
    assert "http" not in text


def test_large_pages_show_less_of_each_hit(tmp_path, monkeypatch):
    write_photograph(tmp_path)
    small = html_of([hit()], tmp_path)
    monkeypatch.setattr(gallery, "_REGIONS_OF_A_PAGE", 2)
    monkeypatch.setattr(gallery, "_LONGEST_SIDE", 40)
    large = html_of([hit()], tmp_path)
    assert small.count("<rect") == 2 + 2 + 1 and large.count("<rect") == 1 + 1 + 1
    assert len(large) < len(small)


def test_five_thousand_captions_stay_small(tmp_path):
    write_photograph(tmp_path)
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.5, (36, 2))
    boxes = np.concatenate([corners, corners + 0.4], axis=1)
    words = "a girl in a red dress runs on the beach .".split()
    explanation = Explanation(words, rng.uniform(size=11), rng.uniform(size=(11, 36)))
    hits = [hit(boxes, explanation=explanation, caption_of="another.jpg")] * 5000
    write_gallery(tmp_path / "a.html", [("a.jpg", hits)], tmp_path)
    assert 1e6 < (tmp_path / "a.html").stat().st_size < 20e6


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "out.html").mkdir()
    with pytest.raises(OSError):
        write_gallery(tmp_path / "out.html", [("dog", [hit()])])
    assert os.listdir(tmp_path) == ["out.html"]


def test_ids_and_captions_that_are_half_a_character_or_endless(tmp_path):
    hits = [ExplainedHit("x" * 300, "a \ud800 dog", 0.5), ExplainedHit("\udfff", "a\0b", 0.4)]
    write_gallery(tmp_path / "a.html", [("\ud83d", hits)], tmp_path)
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "a ? dog" in page and "x" * 300 in page
