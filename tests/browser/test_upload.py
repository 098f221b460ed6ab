"""A photograph that somebody uploads to the demo."""

import dataclasses

import keras
import pytest

from hslm_tf.images.extraction_config import ExtractionConfig
from hslm_tf.images.extractor import RegionExtractor
from hslm_tf.runs.opening import searched_collection
from tests.browser.chromium import running_demo
from tests.images.pictures import write


@pytest.fixture(scope="module")
def demo(browser, whole_run, tmp_path_factory):
    """A demo whose collection knows the network that makes features of photographs."""
    folder = tmp_path_factory.mktemp("upload")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    network = keras.Model(inputs, keras.layers.Conv2D(8, 8, strides=8)(scaled))
    network.save(folder / "tiny.keras")
    config = ExtractionConfig(str(folder / "tiny.keras"), size=64, max_regions=6)
    collection = searched_collection(whole_run.path)
    extraction = RegionExtractor(config).config.to_dict()
    collection.encoded = dataclasses.replace(collection.encoded, extraction=extraction)
    collection.save(folder / "collection.h5")
    with running_demo(folder / "collection.h5") as address:
        yield address


def upload(page, demo, file):
    page.goto(demo)
    page.get_by_role("button", name="Upload a photograph").wait_for()
    page.locator("input[type=file]").set_input_files(file)


def test_a_photograph_is_described(page, demo, tmp_path, page_checks):
    upload(page, demo, write(tmp_path / "holiday.jpg"))
    page.get_by_role("heading", name="Captions for holiday.jpg").wait_for()
    scores = [float(text) for text in page.locator(".hit .score").all_inner_texts()]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    assert page.locator(".results").first.inner_html().count("data:image/jpeg;base64,") == 1
    page_checks(page)


def test_a_file_that_is_no_photograph(page, demo, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no photograph")
    upload(page, demo, tmp_path / "bad.jpg")
    note = page.locator(".results [role=alert]")
    note.wait_for()
    assert note.inner_text().startswith("bad.jpg: it is no photograph that can be read")
