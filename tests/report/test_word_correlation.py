import dataclasses
import re

import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.hslm import HSLM
from hslm_tf.report import word_correlation
from hslm_tf.report.word_correlation import (
    WordCorrelations,
    function_word_ratios,
    word_correlation_section,
    word_correlations,
)
from tests.oracles.numerics import Affine
from tests.oracles.self_attention import self_attention
from tests.tiny_model import SIZES, WORDS, randomize_model

CAPTIONS = ["A big dog runs on grass", "the cat", "a boy sits with the red ball ."]


@pytest.fixture(scope="module", params=[False, True], ids=["residual", "paper"])
def model(request):
    config = ModelConfig(**SIZES, as_printed=request.param)
    model = HSLM(config, WORDS)
    randomize_model(model)
    return model


def dataset(captions):
    images = np.zeros((len(captions), 6, 12), np.float32)
    return RetrievalDataset("test", "here", images, captions, np.arange(len(captions)))


def shares(vectors):
    """Sec. 4.4, word by word."""
    count = len(vectors)
    columns = [sum(vectors[i] @ vectors[j] for i in range(count)) for j in range(count)]
    return np.abs(columns) / np.abs(columns).sum()


def test_values_of_figure_3(model):
    found = word_correlations(model, CAPTIONS)
    table = np.asarray(model.text_encoder.get_layer("word_embedding").embeddings, np.float64)
    layer = model.text_encoder.get_layer("self_attention")
    maps = [Affine(part.kernel) for part in (layer.key, layer.query, layer.value)]
    for row, caption in enumerate(CAPTIONS):
        words = caption.lower().split()
        ids = [WORDS.index(word) if word in WORDS else WORDS.index("<unk>") for word in words]
        own = found.captions == row
        np.testing.assert_array_equal(found.ids[own], ids)
        # Self-attention sees <start> and <end>, the figure does not.
        seen = table[[WORDS.index("<start>"), *ids, WORDS.index("<end>")]]
        enhanced = self_attention(seen, *maps, residual=layer.residual)
        np.testing.assert_allclose(found.before[own], shares(seen[1:-1]), rtol=1e-4)
        np.testing.assert_allclose(found.after[own], shares(enhanced[1:-1]), rtol=1e-3, atol=1e-5)


def test_blocks_make_no_difference(model, monkeypatch):
    expected = word_correlations(model, CAPTIONS)
    monkeypatch.setattr(word_correlation, "_BLOCK", 2)
    for found, wanted in zip(word_correlations(model, CAPTIONS), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_ratio_of_function_words():
    ids = np.array([WORDS.index(word) for word in ("a", "dog", "the", "cat", "runs")])
    captions = np.array([0, 0, 1, 1, 1])
    before, after = np.array([0.5, 0.5, 0.6, 0.2, 0.2]), np.array([0.2, 0.8, 0.1, 0.5, 0.4])
    correlations = WordCorrelations(ids, captions, before, after)
    np.testing.assert_allclose(
        function_word_ratios(correlations, WORDS), (0.55 / 0.3, 0.15 / (1.7 / 3))
    )
    only_nouns = WordCorrelations(ids[[1, 3]], captions[[1, 3]], before[[1, 3]], after[[1, 3]])
    assert function_word_ratios(only_nouns, WORDS) is None


def test_section(model, monkeypatch):
    monkeypatch.setattr(word_correlation, "_LEAST_COUNT", 2)
    section = word_correlation_section(model, dataset(CAPTIONS), num_captions=2)
    html = str(section.body)
    # The first and the last caption, with their words and both rows of values.
    assert re.findall("<caption><span>(.*?)</span></caption>", html)[:2] == [
        CAPTIONS[0],
        CAPTIONS[2],
    ]
    assert html.count('<table class="heat">') == 2
    assert html.count("--share:") == 2 * (6 + 8)
    found = word_correlations(model, CAPTIONS)
    cells = re.findall(r'--share:(\S+)">(\S+)</td>', html)
    values = np.concatenate([found.before[:6], found.after[:6]])
    np.testing.assert_allclose([float(value) for _, value in cells[:12]], values, atol=6e-4)
    shades = [float(shade) for shade, _ in cells[:12]]
    np.testing.assert_allclose(shades, values / values.max(), atol=6e-3)
    ratios = function_word_ratios(found, model.vocabulary)
    verdict = "lose" if round(ratios[1], 2) < round(ratios[0], 2) else "do not lose"
    assert f"<strong>Function words {verdict} weight</strong>" in html
    assert f"is {ratios[0]:.2f} before self-attention and {ratios[1]:.2f} after" in html


def test_words_over_the_split(model, monkeypatch):
    monkeypatch.setattr(word_correlation, "_LEAST_COUNT", 2)
    most, least, shown = word_correlation_section(model, dataset(CAPTIONS)).tables
    # "a" and "the" occur twice; their shares count relative to captions of 6, 2 and 8 words.
    found = word_correlations(model, CAPTIONS)
    means = {}
    for word, lengths in {"a": {0: 6, 2: 8}, "the": {1: 2, 2: 8}}.items():
        places = found.ids == WORDS.index(word)
        factor = [lengths[caption] for caption in found.captions[places]]
        means[word] = [np.mean(part[places] * factor) for part in (found.before, found.after)]
    rows = {row[0]: row for row in (*most.rows, *least.rows)}
    assert {name: len(table.rows) for name, table in (("most", most), ("least", least))} == {
        "most": 1,
        "least": 1,
    }
    for word, (before, after) in means.items():
        assert rows[word] == (word, "2", f"{before:.2f}", f"{after:.2f}")
    assert most.rows[0][0] == max(means, key=lambda word: means[word][1])
    assert [row[1] for row in shown.rows[6:8]] == ["the", "cat"]


def test_only_with_self_attention(model):
    plain = HSLM(dataclasses.replace(model.config, self_attention=False), WORDS)
    assert word_correlation_section(plain, dataset(CAPTIONS)) is None
