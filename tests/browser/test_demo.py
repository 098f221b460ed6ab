import re

import pytest

from tests.browser.chromium import running_demo
from tests.browser.conftest import NASTY

SENTENCE = "A photo of thing3 again."


@pytest.fixture(scope="module")
def demo(browser, shown):
    with running_demo(shown) as address:
        yield address


@pytest.fixture
def opened(page, demo):
    page.goto(demo)
    page.get_by_label("Sentence").wait_for()
    return page


def ask(page, sentence):
    page.get_by_label("Sentence").fill(sentence)
    page.keyboard.press("Enter")


def find_captions(page):
    page.get_by_role("button", name="Find captions", exact=True).click()


def find_captions_of_no_image(page):
    page.get_by_label("Image").fill("99")
    page.keyboard.press("Enter")
    find_captions(page)


def test_a_sentence_finds_images(opened, page_checks):
    ask(opened, SENTENCE)
    opened.get_by_role("heading", name=f"Images for “{SENTENCE}”").wait_for()
    hits = opened.locator(".hit")
    assert hits.count() == 10
    scores = [float(text) for text in hits.locator(".score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    page_checks(opened)


def test_a_word_shows_its_regions(opened):
    ask(opened, SENTENCE)
    first = opened.locator(".hit").first
    word, other = (first.locator(".word", has_text=text) for text in ("photo", "thing3"))
    strongest = first.locator(".strongest")
    word.hover()
    assert word.locator("svg").is_visible() and not strongest.is_visible()
    opened.mouse.move(0, 0)
    assert strongest.is_visible()
    word.focus()
    opened.keyboard.press("Tab")
    opened.keyboard.press("Tab")
    assert other.locator("svg").is_visible()
    assert not word.locator("svg").is_visible() and not strongest.is_visible()


def test_number_of_results(opened):
    opened.get_by_role("spinbutton").fill("3")
    opened.get_by_label("Sentence").fill(SENTENCE)
    opened.get_by_role("button", name="Find images").click()
    opened.locator(".hit").first.wait_for()
    assert opened.locator(".hit").count() == 3


def test_a_clicked_image_finds_captions(opened, page_checks):
    ask(opened, SENTENCE)
    hit = opened.locator(".hit", has_text="photo of thing1 ").first
    image_id = hit.locator(".id").first.inner_text()
    hit.locator(".picture").click()
    heading = opened.get_by_role("heading", name=f"Captions for {image_id}")
    heading.wait_for()
    assert opened.get_by_label("Image").input_value() == image_id
    assert opened.locator(".hit p").count() == 10
    page_checks(opened)


def test_all_of_it_by_keyboard(opened):
    ask(opened, SENTENCE)
    opened.get_by_role("button", name="find captions for").first.focus()
    opened.keyboard.press("Enter")
    opened.get_by_role("heading", name="Captions for").wait_for()
    opened.get_by_label("Image").focus()
    opened.get_by_label("Image").fill("1")
    opened.keyboard.press("Enter")
    opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    opened.get_by_role("heading", name="Captions for 1", exact=True).wait_for()
    assert opened.locator(".picture image").count() == 1


def test_what_looks_like_html_is_text(opened, page_checks):
    ask(opened, f"A photo {NASTY}")
    opened.get_by_role("heading", name=f"Images for “A photo {NASTY}”").wait_for()
    opened.get_by_label("Image").click()
    opened.get_by_role("option", name=NASTY).click()
    opened.get_by_role("button", name="Find captions", exact=True).click()
    opened.get_by_role("heading", name=f"Captions for {NASTY}").wait_for()
    assert opened.locator(".results script, .results img").count() == 0
    page_checks(opened)


# Each has a page of its own: a page of Gradio that is left ends its stream with an error at times.
@pytest.mark.parametrize(
    ("act", "note"),
    [
        (lambda page: ask(page, " "), "^Write a sentence first.$"),
        (lambda page: ask(page, "Xyzzy plugh xyzzy"), "knows none of these words: xyzzy, plugh"),
        (lambda page: ask(page, "photo " * 100), "Only the first 62 of the 100 words"),
        (find_captions, "^Choose an image first.$"),
        (find_captions_of_no_image, "no such image. Received: '99'"),
    ],
    ids=["no sentence", "unknown words", "too long", "no image", "unknown image"],
)
def test_notes_in_place_of_results(opened, page_checks, act, note):
    act(opened)
    alert = opened.locator(".results [role=alert]")
    alert.wait_for()
    assert re.search(note, alert.inner_text())
    page_checks(opened)


def test_dark(page, demo, page_checks):
    page.emulate_media(color_scheme="dark")
    page.goto(demo)
    page.get_by_label("Sentence").wait_for()
    ask(page, SENTENCE)
    page.locator(".hit").first.wait_for()
    page_checks(page)
