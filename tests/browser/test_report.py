import importlib


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
