import socket
import time

import pytest

from hslm_tf.report import demo_page
from hslm_tf.report.demo_page import DemoSearch
from tests.tiny_collection import build, make_dataset, make_model

FLICKR = "2736508369_fd9ff0b42f.jpg"


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def demo(model):
    dataset = make_dataset()
    dataset.image_ids[0] = FLICKR
    return DemoSearch(build(model, dataset))


def test_hits_are_those_of_the_collection(demo):
    html = demo.images("a red dog", 3)
    hits = demo.collection.search(["a red dog"], 3)[0]
    places = [html.index(f'<span class="id">{hit.item}</span>') for hit in hits]
    assert places == sorted(places) and html.count("<figure") == 3
    html = demo.captions(FLICKR, 4)
    assert html.count('class="score"') == 4


def test_photographs_of_flickr_have_a_link(demo):
    link = 'href="https://www.flickr.com/photo.gne?id=2736508369"'
    assert link in demo.captions(FLICKR, 1)
    assert "href" not in demo.captions("im1", 1)


def test_first_captions_stand_beside_images(demo):
    html = demo.images("a red dog", 12)
    collection = demo.collection
    for row in range(12):
        assert f"<q>{collection.captions[3 * row]}</q>" in html


def test_words_that_the_model_does_not_know(demo):
    html = demo.images("a Red xyzzy dog plugh xyzzy", 1)
    assert "does not know: xyzzy, plugh." in html and "<figure" in html
    html = demo.images("xyzzy", 1)
    assert "knows none of these words: xyzzy." in html and "<figure" not in html
    longest = demo.collection.model.config.max_tokens - 2
    assert "are read" not in demo.images("dog " * longest, 1)
    assert f"Only the first {longest} of" in demo.images("dog " * longest + "xyzzy", 1)


@pytest.mark.parametrize("sentence", ["", "  \n", "\t"])
def test_an_empty_query(demo, sentence):
    assert "Write a sentence first." in demo.images(sentence, 1)
    assert "Choose an image first." in demo.captions(None, 1)
    assert "no such image. Received: &#39;nothing&#39;" in demo.captions("nothing", 1)


def test_neither_captions_nor_boxes_nor_attention():
    model = make_model(cross_attention=False, local_alignment=False)
    dataset = make_dataset(captions=0)
    demo = DemoSearch(build(model, dataset))
    demo.warm_up()
    html = demo.images("a red dog", 2)
    assert html.count("<figure") == 2 and "<button" not in html


@pytest.fixture(scope="module")
def served(demo, tmp_path_factory):
    """The address of a demo, and the folder of what is uploaded."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setattr(demo_page, "_REMOVES_FILES", (1, 2))
        page = demo_page.demo_page(demo)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        yield demo_page.serve(page, "127.0.0.1", port, ["demo.lan"]).rstrip("/"), folder
        page.close()


def upload(address, size=10, **headers):
    import httpx

    files = {"files": ("photograph.jpg", bytes(size))}
    return httpx.post(f"{address}/gradio_api/upload", files=files, headers=headers).status_code


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://{host}"}, 200),
        ({"host": "demo.lan", "origin": "https://demo.lan"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "demo.lan", "origin": "http://evil.example"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 400),
    ],
)
def test_only_its_own_pages_reach_the_demo(served, headers, status):
    import httpx

    address, _ = served
    headers = {name: text.format(host=address[7:]) for name, text in headers.items()}
    assert upload(address, **headers) == status
    assert httpx.get(f"{address}/config", headers=headers).status_code == status


def test_uploaded_files_are_small_and_do_not_stay(served):
    address, folder = served
    assert upload(address, 25 * 2**20 + 1) == 413
    assert upload(address, 25 * 2**20 - 1) == 200
    assert max(path.stat().st_size for path in folder.rglob("*.jpg")) == 25 * 2**20 - 1
    end = time.monotonic() + 30
    while list(folder.rglob("*.jpg")) and time.monotonic() < end:
        time.sleep(0.2)
    assert not [path for path in folder.rglob("*") if path.is_file()]
