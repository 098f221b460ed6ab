"""The contrastive loss, in one block and in many, against the whole matrix of scores."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models import trained_scores
from hslm_tf.models.hslm import HSLM
from hslm_tf.training import ContrastiveLoss
from hslm_tf.training.retrieval_loss import admissible_negatives
from tests.layer_test import assert_close
from tests.oracles.contrastive_loss import contrastive_loss
from tests.oracles.cross_attention import cross_attention
from tests.tiny_model import SIZES, WORDS, losses_at, random_batch, randomize_model
from tests.training.helpers import (
    WITHOUT_GRADIENT,
    assert_equal_gradients,
    dense,
    encoded,
    loss_and_gradients,
)

# Repeated images; pairs 4 and 9 of different images have the same caption.
IMAGE_INDEX = np.array([0, 1, 2, 3, 4, 0, 5, 6, 2, 7, 8, 9, 10], "int32")
LIGHT = {"word_dropout": 0.0, "mgcn": False, "self_attention": False}
ROWS = {
    "local and global": {},
    "attended global": {"image_global": "attended"},
    "global alone": {"cross_attention": False, "local_alignment": False},
    "local alone": {"global_alignment": False},
}
PARTS = ModelConfig(**SIZES, **LIGHT, image_global="regions", attention="leaky_softmax")


def data(dtype: str = "float32") -> dict[str, tf.Tensor]:
    batch = random_batch(IMAGE_INDEX)
    rows = np.arange(len(IMAGE_INDEX))
    rows[9] = 4
    features = tf.cast(batch["region_features"], dtype)
    token_ids = tf.gather(batch["token_ids"], rows)
    return {**batch, "region_features": features, "token_ids": token_ids}


def random_model(config: ModelConfig, dtype: str = "float64") -> HSLM:
    model = HSLM(config, WORDS, dtype=dtype)
    randomize_model(model)
    return model


def set_blocks(monkeypatch, images: int, rows: int, width: int = 4 * SIZES["joint_dim"]) -> None:
    """Sets the images of a block, each against `rows` words (or captions)."""
    monkeypatch.setattr(trained_scores, "BLOCK_NUMBERS", images * rows * width)


def num_words(batch: dict) -> int:
    return int(tf.math.count_nonzero(batch["token_ids"]))


def test_equals_the_oracle():
    batch, scores = data(), np.random.default_rng(1).normal(size=(13, 13))
    matrix = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(matrix)
        admissible = admissible_negatives(batch["image_index"], batch["token_ids"])
        losses = ContrastiveLoss(3.0).of_matrix(matrix, admissible)
    expected = contrastive_loss(scores, IMAGE_INDEX, batch["token_ids"].numpy(), 3.0)
    assert_close(losses.loss, expected.loss, 1e-10)
    assert_close(tape.gradient(losses.loss, matrix), expected.score_gradient, 1e-10)
    assert float(losses.active_hinges) == pytest.approx(expected.above)
    assert_close(losses.positive_score, np.mean(np.diag(scores)), 1e-10)


def test_equal_scores_cost_the_logarithm_of_the_batch():
    losses = ContrastiveLoss().of_matrix(tf.zeros([8, 8]), ~tf.eye(8, dtype=tf.bool))
    assert_close(losses.loss, np.log(8), 1e-6)
    assert losses.active_hinges == 0


def test_without_negatives_there_is_no_loss():
    losses = ContrastiveLoss().of_matrix(tf.zeros([3, 3]), tf.zeros([3, 3], tf.bool))
    assert [float(value) for value in losses] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    "row, dtype, tolerance",
    [
        *((row, "float64", 1e-10) for row in ROWS),
        *(pytest.param(row, "float32", 1e-5, marks=pytest.mark.slow) for row in ROWS),
    ],
)
def test_gradient_of_a_step_equals_that_of_the_whole_matrix(row, dtype, tolerance, monkeypatch):
    """With one block of all images and with blocks that do not divide them."""
    model = random_model(ModelConfig(**SIZES, **LIGHT, **ROWS[row]), dtype)
    batch = data(dtype)
    with tf.GradientTape() as tape:
        scores = model.score_all(*encoded(model, batch))
    oracle = contrastive_loss(scores, IMAGE_INDEX, batch["token_ids"].numpy(), 10.0)
    slopes = tf.constant(oracle.score_gradient, dtype)
    expected = dense(tape.gradient(scores, model.trainable_variables, slopes))
    for images in (len(IMAGE_INDEX), 5):
        set_blocks(monkeypatch, images, 13 if row == "global alone" else num_words(batch))
        model.compile(keras.optimizers.SGD(1.0), ContrastiveLoss())
        step = lambda: loss_and_gradients(model, batch)  # noqa: E731
        # Blocks are loops: once in a graph, as in training.
        in_graph = row == "local and global" and images == 5
        losses, actual = (tf.function(step) if in_graph else step)()
        assert_close(losses.loss, oracle.loss, tolerance)
        assert_equal_gradients(model, actual, expected, tolerance)


@pytest.mark.parametrize(
    "policy, row",
    [
        ("mixed_bfloat16", "global alone"),
        pytest.param("mixed_float16", "local and global", marks=pytest.mark.slow),
    ],
)
def test_mixed_precision_steps_learn(policy, row):
    config = ModelConfig(**SIZES, mgcn=False, self_attention=False, **ROWS[row])
    model = HSLM(config, WORDS, dtype=policy)
    model.compile(keras.optimizers.Adam(1e-2, global_clipnorm=2.0), ContrastiveLoss())
    step, measure = tf.function(model.train_step), tf.function(model.test_step)
    batch = data()

    def loss_of(function) -> float:
        model.reset_metrics()
        return float(function(batch)["loss"])

    before = loss_of(measure)
    assert np.all(np.isfinite([loss_of(step) for _ in range(20)]))
    assert loss_of(measure) < 0.7 * before


@pytest.mark.parametrize("images_of_a_block", [13, 5])
def test_on_global_vectors_it_is_the_loss_of_row_1(images_of_a_block, monkeypatch):
    """A model of global vectors alone, with the same weights, has the same loss and gradient."""
    config = ModelConfig(**SIZES, word_dropout=0.0, image_global="regions", balance_fusion=True)
    model = random_model(config)
    config = dataclasses.replace(config, cross_attention=False, local_alignment=False)
    row_1 = HSLM(config, WORDS, dtype="float64")
    by_path = {variable.path: variable for variable in model.trainable_variables}
    for variable in row_1.trainable_variables:
        variable.assign(by_path[variable.path])
    set_blocks(monkeypatch, images_of_a_block, len(IMAGE_INDEX), SIZES["joint_dim"])
    results = []
    for part, on in ((model, "global"), (row_1, "score")):
        part.compile(keras.optimizers.SGD(1.0), ContrastiveLoss(on=on))
        losses, gradients = loss_and_gradients(part, data("float64"))
        paths = [variable.path for variable in part.trainable_variables]
        results.append((losses.loss, dict(zip(paths, gradients, strict=True))))
    (loss, gradients), (expected_loss, expected) = results
    assert_close(loss, expected_loss, 1e-10)
    for path, gradient in gradients.items():
        if path not in expected or path == WITHOUT_GRADIENT:
            # Local layers, and the gate, which cancels for a single vector.
            assert np.max(np.abs(gradient)) < 1e-12, path
        else:
            assert_close(gradient, expected[path], 1e-9)


@pytest.mark.parametrize("images_of_a_block", [13, 5])
@pytest.mark.parametrize("attention", ["leaky_softmax", "softmax", "hard"])
def test_on_parts_it_adds_a_loss_on_the_alignment(attention, images_of_a_block, monkeypatch):
    model, batch = random_model(dataclasses.replace(PARTS, attention=attention)), data("float64")
    images, texts = encoded(model, batch)
    # Words attend one by one.
    alone, gamma = "hard", 0.0
    if attention != "hard":
        alone, gamma = "softmax", float(model.matcher.get_layer("cross_attention").gamma)
    cosines = np.empty((13, 13))
    for i, j in np.ndindex(13, 13):
        regions = images["regions"][i][images["region_mask"][i]].numpy()
        words = texts["words"][j][texts["word_mask"][j]].numpy()
        attended, _ = cross_attention(words, regions, alone, gamma)
        cosines[i, j] = np.mean(np.sum(words * attended, axis=-1))
    expected = contrastive_loss(cosines, IMAGE_INDEX, batch["token_ids"].numpy(), 40.0).loss

    set_blocks(monkeypatch, images_of_a_block, num_words(batch), SIZES["max_regions"])
    found = {}
    for on in ("global", "parts"):
        model.compile(keras.optimizers.SGD(1.0), ContrastiveLoss(on=on))
        losses, gradients = loss_and_gradients(model, batch)
        found[on] = losses.loss
    assert_close(found["parts"], found["global"] + expected, 1e-10)
    moved = {
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if np.any(gradient)
    }
    assert any("cross_attention" in path for path in moved) == (attention != "hard")
    assert not any("local_similarity" in path for path in moved)


def test_a_large_batch_is_compared_in_halves(monkeypatch):
    """The loss is that of both halves, with everything that has a gradient."""
    model, batch = random_model(PARTS), data("float64")
    loss = ContrastiveLoss(40.0)

    def alignment_loss(rows):
        part = {key: x[rows] for key, x in batch.items()}
        admissible = admissible_negatives(part["image_index"], part["token_ids"])
        scores = model.score_matrix(*encoded(model, part), "alignment")
        return loss.of_matrix(scores, admissible).loss

    def with_gradients(compute):
        variables = [variable.value for variable in model.trainable_variables]
        with tf.GradientTape() as tape:
            result = compute()
        zero = tf.UnconnectedGradients.ZERO
        return result, dense(tape.gradient(result, variables, unconnected_gradients=zero))

    def of_both_halves():
        return (6 * alignment_loss(slice(6)) + 7 * alignment_loss(slice(6, None))) / 13

    expected, expected_gradients = with_gradients(of_both_halves)
    monkeypatch.setattr(trained_scores, "ALIGNED_BATCH", 12)
    # Pairs 4 and 9 have the same caption, but lie in other halves.
    in_graph = tf.function(lambda: with_gradients(lambda: alignment_loss(slice(None))))
    actual, gradients = in_graph()
    assert_close(actual, expected, 1e-10)
    assert_same_alignment_gradients(gradients, expected_gradients)


def test_gradient_on_parts_does_not_depend_on_the_blocks(monkeypatch):
    model, gradients = random_model(PARTS), []
    model.compile(keras.optimizers.SGD(1.0), ContrastiveLoss(on="parts"))
    for block_numbers in (10**9, 1):
        monkeypatch.setattr(trained_scores, "BLOCK_NUMBERS", block_numbers)
        gradients.append(loss_and_gradients(model, data("float64"))[1])
    assert_same_alignment_gradients(*gradients)


def assert_same_alignment_gradients(actual, expected):
    """The alignment has a gradient for the encoders and gamma, not for the rest of the matcher."""
    assert sum(np.any(x) for x in expected) >= 10
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * max(np.abs(b).max(), 1e-3))


def test_alignment_counts_a_tenth_after_its_first_steps():
    model, batch, found = random_model(PARTS, "float32"), data(), {}
    for name, loss, step in (
        ("global", ContrastiveLoss(on="global"), 0),
        ("alignment", ContrastiveLoss(on="alignment"), 0),
        ("all steps", ContrastiveLoss(on="parts"), 9),
        ("first steps", ContrastiveLoss(on="parts", alignment_steps=5), 4),
        ("later", ContrastiveLoss(on="parts", alignment_steps=5), 5),
    ):
        model.compile(keras.optimizers.SGD(1.0), loss)
        found[name] = float(losses_at(model, batch, step).loss)
    alignment = found["all steps"] - found["global"]
    assert alignment == pytest.approx(found["alignment"], rel=1e-5) and alignment > 0.1
    assert found["first steps"] == pytest.approx(found["all steps"])
    assert found["later"] == pytest.approx(found["global"] + alignment / 10, rel=1e-5)
