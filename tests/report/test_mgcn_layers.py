import dataclasses
import re

import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.evaluation.ranks import recall_report
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.hslm import HSLM
from hslm_tf.report import mgcn_layers
from hslm_tf.report.mgcn_layers import (
    caption_relations,
    image_relations,
    mgcn_section,
    strongest_lines,
    with_layers,
)
from tests.layers.test_graph_conv import weights_of
from tests.oracles.graph_conv import affinity_matrix, mgcn
from tests.oracles.numerics import Affine, l2_normalize, l2_normalize_rows
from tests.tiny_model import SIZES, WORDS, randomize_model
from tests.tiny_split import tiny_split

DATASET = tiny_split()


def tiny_model(**changes):
    model = HSLM(ModelConfig(**{**SIZES, **changes}), WORDS)
    randomize_model(model)
    return model


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def objects(model, image):
    """The real regions of an image as they enter the MGCN."""
    projection = model.image_encoder.get_layer("region_projection")
    regions = DATASET.region_features[image, : DATASET.num_regions[image]]
    nodes = Affine(projection.kernel, projection.bias)(regions)
    return nodes if model.config.as_printed else l2_normalize_rows(nodes)


def layers_of(model):
    return [weights_of(c) for c in model.image_encoder.get_layer("image_mgcn").convolutions]


@pytest.mark.parametrize("as_printed", [False, True])
def test_relations_of_an_image_are_equation_7(as_printed):
    model = tiny_model(as_printed=as_printed)
    affinity = "dot" if as_printed else "mean"
    features, mask = DATASET.read_images(np.array([1]))
    found = image_relations(model, features[0], mask[0])
    nodes, weights = objects(model, 1), layers_of(model)
    assert len(found) == 2
    for layer, matrix in enumerate(found):
        normalizations = None if as_printed else [l2_normalize] * layer
        inputs = mgcn(nodes, weights[:layer], affinity, normalizations)
        expected = affinity_matrix(inputs, weights[layer], affinity)
        np.testing.assert_allclose(matrix, expected, rtol=1e-4, atol=1e-6)


def test_relations_of_a_caption():
    model = tiny_model(mgcn_layers=3)
    words, found = caption_relations(model, "A big dog")
    assert words == ["<start>", "a", "big", "dog", "<end>"]
    assert [matrix.shape for matrix in found] == [(5, 5)] * 3
    first = weights_of(model.text_encoder.get_layer("text_mgcn").convolutions[0])
    # Layer 1 is what remains when the others are taken out.
    (matrix,) = caption_relations(with_layers(model, 1), "A big dog")[1]
    np.testing.assert_array_equal(matrix, found[0])
    table = np.asarray(model.text_encoder.get_layer("word_embedding").embeddings, np.float64)
    rows = table[[WORDS.index(word) for word in words]]
    attention = model.text_encoder.get_layer("self_attention")
    enhanced = np.asarray(attention(rows[None].astype(np.float32)))[0]
    expected = affinity_matrix(l2_normalize_rows(enhanced), first, "mean")
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"as_printed": True}, marks=pytest.mark.slow),
    ],
)
def test_all_layers_are_the_model_itself(changes):
    model, subset = tiny_model(**changes), DATASET.subset(0, 2)
    whole = with_layers(model, 2)
    np.testing.assert_array_equal(score_matrix(whole, subset), score_matrix(model, subset))
    assert with_layers(model, 1).count_params() < model.count_params()
    assert with_layers(model, 0).count_params() < with_layers(model, 1).count_params()


@pytest.mark.parametrize("num_layers", [0, 1])
def test_an_earlier_layer_goes_on(model, num_layers):
    cut = with_layers(model, num_layers)
    regions = cut.encode_image(*DATASET.read_images(np.array([1])))["regions"][0]
    real = DATASET.num_regions[1]
    weights = layers_of(model)[:num_layers]
    expected = mgcn(objects(model, 1), weights, "mean", [l2_normalize] * num_layers)
    np.testing.assert_allclose(regions[:real], expected, rtol=1e-4, atol=1e-6)
    assert not np.any(regions[real:])
    for weight in cut.matcher.weights:
        (own,) = [w for w in model.weights if w.path == weight.path]
        np.testing.assert_array_equal(weight, own)
    assert np.abs(score_matrix(cut, DATASET) - score_matrix(model, DATASET)).max() > 1e-4


def test_lines_join_the_centres_of_the_most_related_regions():
    matrix = np.array([[9.0, 0.1, -0.8], [0.4, 9.0, 0.0], [0.2, 0.0, 9.0]])
    rectangles = np.array([[0, 0, 100, 50], [200, 100, 10, 10], [0, 300, 40, 40]])
    weak, strong = strongest_lines(matrix, rectangles)
    assert weak == (50, 25, 205, 105, 0.4, 0.5)
    assert strong == (50, 25, 20, 320, -0.8, 1.0)
    assert strongest_lines(np.zeros((2, 2)), rectangles) == []
    assert strongest_lines(np.ones((1, 1)), rectangles) == []


@pytest.fixture(scope="module")
def section(model):
    return mgcn_section(model, DATASET, max_images=4)


def test_recall_with_fewer_layers(model, section):
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["0", "1", "2"] and table.marked == {2}
    # The last is exactly the model's own.
    own = evaluate(model, DATASET.subset(0, 4)).as_dict()
    assert table.rows[2][1:8] == tuple(
        f"{own[name]:.1f}"
        for name in ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
    )
    rsums = [float(row[7]) for row in table.rows]
    added = [float(row[8]) for row in table.rows[1:]]
    np.testing.assert_allclose(added, np.diff(rsums), atol=0.11)
    assert "the first 4 of 6 images of dev" in section.body and table.note in section.body


def test_relations_are_drawn(model, section):
    html = str(section.body)
    # A drawing and a heat map for each layer; only real regions are drawn.
    drawings = re.findall("<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) == 2
    real = DATASET.num_regions[0]
    pairs = real * (real - 1) // 2
    assert [one.count("<rect") for one in drawings] == [real] * 2
    assert [one.count("<line") for one in drawings] == [min(10, pairs)] * 2
    assert html.count('<table class="heat small">') == 2
    words, matrices = caption_relations(model, DATASET.captions[0])
    cells = re.findall(r'<td( class="negative")? style="--share:(\S+)">(\S+)</td>', html)
    assert len(cells) == 2 * len(words) ** 2
    flat = matrices[0].flatten() / np.abs(matrices[0]).max()
    for value, (negative, share, text) in zip(flat, cells, strict=False):
        assert float(text) == pytest.approx(value, abs=0.006)
        assert float(share) == pytest.approx(abs(value), abs=0.006)
        assert bool(negative) == (value < 0)


def test_only_with_mgcn_and_boxes(model, monkeypatch):
    assert mgcn_section(tiny_model(mgcn=False), DATASET) is None
    report = recall_report(np.zeros(6), np.zeros(12))
    monkeypatch.setattr(mgcn_layers, "recalls_by_layers", lambda *_: [report] * 3)
    without_boxes = dataclasses.replace(DATASET, boxes=None)
    assert "<svg" not in mgcn_section(model, without_boxes).body
