"""Scores in blocks have the values and gradients of all of them at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models import trained_scores
from hslm_tf.models.hslm import HSLM
from hslm_tf.training.score_in_blocks import score_in_blocks
from tests.layer_test import assert_close
from tests.tiny_model import SIZES, WORDS, random_batch, randomize_model
from tests.training.helpers import dense, encoded


@pytest.mark.parametrize(
    "dtype, tolerance, image_global",
    [
        ("float64", 1e-10, "attended"),
        pytest.param("float32", 1e-5, "regions", marks=pytest.mark.slow),
        pytest.param("float32", 1e-5, "attended", marks=pytest.mark.slow),
        pytest.param("float64", 1e-10, "regions", marks=pytest.mark.slow),
    ],
)
def test_chosen_pairs_equal_all_at_once(dtype, tolerance, image_global, monkeypatch):
    model = HSLM(ModelConfig(**SIZES, image_global=image_global), WORDS, dtype=dtype)
    randomize_model(model)
    batch = random_batch(range(5))
    batch["region_features"] = tf.cast(batch["region_features"], dtype)
    random = np.random.default_rng(0)
    # Pairs with slope 0 on the way, and an image and a caption that no pair has.
    image_rows, text_rows = tf.constant(random.integers(0, 4, (2, 11)), tf.int32)
    slopes = tf.constant(random.normal(size=11) * (np.arange(11) % 4 > 0), dtype)

    def plain(images, texts, image_rows, text_rows):
        return model.score_pairs(
            {key: tf.gather(x, image_rows) for key, x in images.items()},
            {key: tf.gather(x, text_rows) for key, x in texts.items()},
        )

    def scores_and_gradients(score):
        with tf.GradientTape() as tape:
            scores = score(*encoded(model, batch), image_rows, text_rows)
            loss = tf.reduce_sum(scores * slopes)
        return scores, dense(tape.gradient(loss, model.trainable_variables))

    expected, expected_gradients = scores_and_gradients(plain)
    largest = max(np.max(np.abs(gradient)) for gradient in expected_gradients)
    for pairs_of_a_block in (3, 11):
        monkeypatch.setattr(trained_scores, "BLOCK_PAIRS", pairs_of_a_block)
        scores, gradients = tf.function(lambda: scores_and_gradients(model.score_rows))()
        assert_close(scores, expected, tolerance)
        for gradient, other in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_allclose(gradient, other, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("block_size", [1, 4, 5, 9])
def test_rows_shared_tensors_and_weights_have_gradients(block_size, in_graph):
    random = np.random.default_rng(1)
    rows = {"vector": tf.constant(random.normal(size=(9, 3))), "number": tf.range(9)}
    shared = {"vector": tf.constant(random.normal(size=(4, 3)))}
    weight = keras.Variable(random.normal(size=(3, 3)), dtype="float64")
    slopes = tf.constant(random.normal(size=(9, 4)) * (np.arange(9) != 5)[:, None])

    def score(rows, shared):
        left = tf.cast(rows["number"] + 1, tf.float64)[:, None] * rows["vector"]
        return tf.tanh(left @ weight.value @ tf.transpose(shared["vector"]))

    def gradients(of):
        sources = [rows["vector"], shared["vector"], weight.value]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            scores = of()
        return scores, *tape.gradient(scores, sources, slopes)

    def in_blocks():
        return gradients(lambda: score_in_blocks(score, rows, shared, [weight], block_size))

    found = (tf.function(in_blocks) if in_graph else in_blocks)()
    for actual, expected in zip(found, gradients(lambda: score(rows, shared)), strict=True):
        assert_close(actual, expected, 1e-12)


def test_a_nan_score_reaches_the_gradient():
    """A hinge on it may have slope 0, which must not hide it from loss scaling."""
    x = tf.constant([np.nan, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = score_in_blocks(lambda rows, _: tf.square(rows["x"]), {"x": x}, {}, (), 1)
        loss = tf.reduce_sum(scores[1:])
    np.testing.assert_array_equal(tape.gradient(loss, x), [np.nan, 2.0])
