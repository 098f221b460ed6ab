import importlib

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


def test_report(page, page_checks, whole_run, tmp_path):
    report = importlib.import_module("hslm_tf.report.__main__")
    report.main([str(whole_run.path), "--out", str(tmp_path / "report")])
    page.goto((tmp_path / "report/index.html").as_uri())
    links = page.locator("nav a").all()
    assert links
    for link in links:
        link.click()
        assert page.locator(":target").is_visible()
    page_checks(page)
