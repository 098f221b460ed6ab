import dataclasses
import re
from html import unescape

import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.retrieval_examples import chosen_queries, retrieval_examples_section
from tests.oracles.cross_attention import attention_weights
from tests.tiny_model import SIZES, WORDS, randomize_model
from tests.tiny_split import tiny_split

DATASET = tiny_split()
SCORES = np.random.default_rng(3).normal(size=(6, 12)).astype(np.float32)
SCORES[2, 4] = SCORES[4, 8] = 9.0


@pytest.fixture(scope="module")
def model():
    model = HSLM(ModelConfig(**SIZES), WORDS)
    randomize_model(model)
    return model


def figures(html):
    return re.findall("<figure.*?</figure>", str(html), re.DOTALL)


def test_half_of_the_queries_have_a_right_hit_first():
    ranks = np.array([0, 3, 0, 1, 0, 0, 9, 0, 2])
    assert chosen_queries(ranks, 4).tolist() == [0, 7, 1, 8]
    assert chosen_queries(ranks, 5).tolist() == [0, 4, 7, 1, 8]
    assert chosen_queries(ranks, 100).tolist() == [0, 2, 4, 5, 7, 1, 3, 6, 8]
    assert chosen_queries(np.zeros(5, int), 2).tolist() == [0, 4]
    assert chosen_queries(np.array([5, 0]), 1).tolist() == [1]


def test_the_best_are_shown_in_order_and_marked(model):
    html = str(retrieval_examples_section(model, DATASET, SCORES, num_queries=2).body)
    of_images, of_captions = html.split("<h3>")[1:]
    # Images 2 and 4 find their captions.
    own = np.where(DATASET.caption_to_image == np.arange(6)[:, None], SCORES, -np.inf).max(axis=1)
    places = (SCORES > own[:, None]).sum(axis=1) + 1
    wrong = np.flatnonzero(places > 1)[0]
    assert re.findall("caption in place (.*)<", of_images) == ["1", str(places[wrong])]
    for figure, image in zip(figures(of_images), (2, wrong), strict=True):
        best = np.argsort(-SCORES[image])[:5]
        scores = re.findall('"score">(.*?)<', figure)
        assert scores == [f"{SCORES[image, caption]:.4f}" for caption in best]
        marks = ["right" if caption // 2 == image else "wrong" for caption in best]
        assert re.findall('<p class="(.*?)">', figure) == marks
        owners = [f"photo {caption // 2}" for caption in best if caption // 2 != image]
        assert re.findall(">of (.*?)<", figure) == owners
    ranked = (SCORES > SCORES[np.repeat(np.arange(6), 2), np.arange(12)]).sum(axis=0)
    captions = [np.flatnonzero(ranked == 0)[0], np.flatnonzero(ranked > 0)[0]]
    headings = [unescape(text) for text in re.findall("<h4>(.*?) <span", of_captions)]
    assert headings == [DATASET.captions[caption] for caption in captions]
    found = figures(of_captions)
    for caption, shown in zip(captions, (found[:3], found[3:]), strict=True):
        best = np.argsort(-SCORES[:, caption])[:3]
        assert [re.search('"id">(.*?)<', one)[1] for one in shown] == [f"photo {i}" for i in best]
        marks = ["right" if caption // 2 == image else "wrong" for image in best]
        assert [re.search('<p class="(.*?)">', one)[1] for one in shown] == marks


def test_words_show_the_regions_that_they_attend_to(model):
    html = retrieval_examples_section(model, DATASET, SCORES, num_queries=2).body
    figure = figures(html)[0]
    caption = int(np.argmax(SCORES[2]))
    images = model.encode_image(*DATASET.read_images(np.array([2])))
    texts = model.encode_text([DATASET.captions[caption]])
    real = DATASET.num_regions[2]
    gamma = float(model.matcher.get_layer("cross_attention").gamma)
    weights = attention_weights(
        texts["words"][0].numpy(), images["regions"][0, :real].numpy(), gamma=gamma
    )[1:-1]
    words = re.findall('<span class="word".*?</span>', figure.split("</p>")[0], re.DOTALL)
    assert len(words) == len(weights) == len(DATASET.captions[caption].split())
    corners = DATASET.boxes[2] * [1000, 750, 1000, 750]
    for word, row in zip(words, weights, strict=True):
        found = {
            (int(x), int(y)): float(opacity or 1)
            for x, y, opacity in re.findall(r'x="(\d+)" y="(\d+)".*?(?: opacity="(.*?)")?/>', word)
        }
        assert len(found) == min(5, real)
        for region in np.argsort(-row)[:5]:
            place = tuple(np.rint(corners[region, :2]).astype(int))
            assert found[place] == pytest.approx(row[region] / row.max(), abs=0.006)


def test_without_cross_attention_boxes_and_ids(model):
    config = dataclasses.replace(model.config, cross_attention=False, local_alignment=False)
    plain = dataclasses.replace(DATASET, boxes=None, image_ids=None)
    html = str(retrieval_examples_section(HSLM(config, WORDS), plain, SCORES, num_queries=2).body)
    assert len(figures(html)) == 2 + 2 * 3
    assert "<rect" not in html and "tabindex" not in html and "Point at" not in html
    assert ">of 0<" in html or ">of 1<" in html
