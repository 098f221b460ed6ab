import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.retrieval.rows import Rows
from hslm_tf.runs.opening import searched_collection
from tests.browser.chromium import CHROMIUM, chromium

AXE = Path(
    os.environ.get("HSLM_TF_AXE") or Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
)
LOCAL = ("http://127.0.0.1:", "file:", "data:")
NASTY = "<script>alert('x')</script> \"><img src=x onerror=alert(2)> {{ 7 * 7 }} ${alert(3)}"


@pytest.fixture(scope="session", autouse=True)
def installed():
    """Comes first: what is not installed skips before anything is trained."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    pytest.importorskip("playwright")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser):
    """A page on which nothing may go wrong: no error, no dialog, no request to another machine."""
    page, wrong = browser.new_page(), []
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on(
        "request",
        lambda request: request.url.startswith(LOCAL) or wrong.append(request.url),
    )
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def page_checks():
    """What every page is: usable on a telephone, by keyboard, and accessible."""

    def check(page):
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Tab")
        assert page.locator(":focus").is_visible()
        if not AXE.is_file():
            pytest.skip(f"axe-core is not installed: there is no {AXE}")
        page.evaluate(AXE.read_text("utf-8"))
        found = page.evaluate("axe.run()")["violations"]
        assert [v for v in found if v["impact"] in ("serious", "critical")] == []

    return check


@pytest.fixture(scope="session")
def shown(whole_run, tmp_path_factory):
    """A collection with boxes, an id and a caption that look like HTML, and a photograph of "1"."""
    folder = tmp_path_factory.mktemp("shown")
    collection = searched_collection(whole_run.path)
    corners = np.random.default_rng(0).uniform(0, 0.5, (12, 6, 2))
    collection.encoded = dataclasses.replace(
        collection.encoded,
        boxes=Rows([np.concatenate([corners, corners + 0.4], axis=-1).astype(np.float32)]),
        ids=[NASTY, *collection.ids[1:]],
        captions=[NASTY, *collection.captions[1:]],
    )
    collection.image_folder = str(folder)
    collection.save(folder / "collection.h5")
    tf.io.write_file(
        str(folder / "1.jpg"), tf.io.encode_jpeg(tf.fill([60, 100, 3], tf.constant(200, tf.uint8)))
    )
    return folder / "collection.h5"
