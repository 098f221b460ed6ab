import pytest

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
