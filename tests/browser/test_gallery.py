from hslm_tf import search
from tests.browser.conftest import NASTY


def test_gallery(page, page_checks, shown, tmp_path):
    file = tmp_path / "out.html"
    search.main([str(shown), "A photo of thing3 again.", NASTY, "--html", str(file)])
    page.goto(file.as_uri())
    first = page.locator(".hit").first
    word, others = first.locator(".word", has_text="thing3"), first.locator(".strongest")
    regions = word.locator("svg")
    assert not regions.is_visible() and others.is_visible()
    word.hover()
    assert regions.is_visible() and not others.is_visible()
    page.mouse.move(0, 0)
    assert not regions.is_visible() and others.is_visible()
    word.focus()
    assert regions.is_visible() and not others.is_visible()
    assert page.get_by_role("heading", name=NASTY).is_visible()
    page_checks(page)
