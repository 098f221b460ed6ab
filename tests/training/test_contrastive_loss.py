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

# Repeated images; pairs 4 and 9 of different images have the same caption.
IMAGE_INDEX = np.array([0, 1, 2, 3, 4, 0, 5, 6, 2, 7, 8, 9, 10], "int32")
ROWS = {
    "local and global": {},
    "attended global": {"image_global": "attended"},
    "global alone": {"cross_attention": False, "local_alignment": False},
    "local alone": {"global_alignment": False},
}
# The loss does not see what is added to all scores.
WITHOUT_GRADIENT = "similarity_fusion/score/bias"


def data() -> dict[str, tf.Tensor]:
    batch = random_batch(IMAGE_INDEX)
    rows = np.arange(len(IMAGE_INDEX))
    rows[9] = 4
    return {**batch, "token_ids": tf.gather(batch["token_ids"], rows)}


def test_equals_the_oracle():
    batch = data()
    scores = np.random.default_rng(1).normal(size=(13, 13))
    loss = ContrastiveLoss(3.0)
    matrix = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(matrix)
        admissible = admissible_negatives(batch["image_index"], batch["token_ids"])
        losses = loss.of_matrix(matrix, admissible)
    expected = contrastive_loss(scores, IMAGE_INDEX, batch["token_ids"].numpy(), 3.0)
    assert_close(losses.loss, expected.loss, 1e-10)
    assert_close(tape.gradient(losses.loss, matrix), expected.score_gradient, 1e-10)
    assert float(losses.active_hinges) == pytest.approx(expected.above)
    assert_close(losses.positive_score, np.mean(np.diag(scores)), 1e-10)


def test_equal_scores_cost_the_logarithm_of_the_batch():
    loss = ContrastiveLoss()
    losses = loss.of_matrix(tf.zeros([8, 8]), ~tf.eye(8, dtype=tf.bool))
    assert_close(losses.loss, np.log(8), 1e-6)
    assert losses.active_hinges == 0


def test_without_negatives_there_is_no_loss():
    losses = ContrastiveLoss().of_matrix(tf.zeros([3, 3]), tf.zeros([3, 3], tf.bool))
    assert [float(value) for value in losses] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("precision", [("float32", 1e-5), ("float64", 1e-10)], ids=lambda p: p[0])
@pytest.mark.parametrize("row", ROWS)
def test_gradient_of_a_step_equals_that_of_the_whole_matrix(row, precision, monkeypatch):
    """Every variable's, with one block of all images and with blocks that do not divide them."""
    dtype, tolerance = precision
    config = ModelConfig(**SIZES, word_dropout=0.0, mgcn=False, self_attention=False, **ROWS[row])
    model = HSLM(config, WORDS, dtype=dtype)
    randomize_model(model)
    batch = data()
    batch["region_features"] = tf.cast(batch["region_features"], dtype)
    with tf.GradientTape() as tape:
        scores = model.score_all(
            model.image_encoder({key: batch[key] for key in ("region_features", "region_mask")}),
            model.text_encoder({"token_ids": batch["token_ids"]}),
        )
    oracle = contrastive_loss(scores, IMAGE_INDEX, batch["token_ids"].numpy(), 10.0)
    slopes = tf.constant(oracle.score_gradient, dtype)
    expected = tape.gradient(scores, model.trainable_variables, slopes)
    largest = max(np.max(np.abs(tf.convert_to_tensor(gradient))) for gradient in expected)

    words = int(tf.math.count_nonzero(batch["token_ids"])) if "global alone" != row else 13
    for images_of_a_block in (len(IMAGE_INDEX), 5):
        monkeypatch.setattr(
            trained_scores, "BLOCK_NUMBERS", images_of_a_block * words * SIZES["joint_dim"]
        )
        model.compile(keras.optimizers.SGD(1.0), ContrastiveLoss())

        def gradients(batch):
            with tf.GradientTape() as tape:
                losses = losses_at(model, batch, 0)
            return losses.loss, tape.gradient(losses.loss, model.trainable_variables)

        # Blocks are loops: once in a graph, as in training.
        in_graph = row == "local and global" and images_of_a_block == 5
        loss, actual = (tf.function(gradients) if in_graph else gradients)(batch)
        assert_close(loss, oracle.loss, tolerance)
        for variable, a, b in zip(model.trainable_variables, actual, expected, strict=True):
            a, b = np.asarray(tf.convert_to_tensor(a)), np.asarray(tf.convert_to_tensor(b))
            if variable.path == WITHOUT_GRADIENT:
                assert np.max(np.abs(a)) <= tolerance * largest
                continue
            assert np.max(np.abs(b)) > 1e-7 * largest, variable.path
            # What is far smaller than the largest gradient carries that one's rounding.
            size = max(np.max(np.abs(b)), 1e-2 * largest)
            assert np.max(np.abs(a - b)) <= tolerance * size, variable.path


@pytest.mark.parametrize(
    "policy, row", [("mixed_bfloat16", "global alone"), ("mixed_float16", "local and global")]
)
def test_mixed_precision_steps_learn(policy, row):
    config = ModelConfig(**SIZES, mgcn=False, self_attention=False, **ROWS[row])
    model = HSLM(config, WORDS, dtype=policy)
    model.compile(keras.optimizers.Adam(1e-2, global_clipnorm=2.0), ContrastiveLoss())
    step, measure = tf.function(model.train_step), tf.function(model.test_step)
    batch = data()

    def loss_of(function) -> float:
        for metric in model.metrics:
            metric.reset_state()
        return float(function(batch)["loss"])

    before = loss_of(measure)
    assert np.all(np.isfinite([loss_of(step) for _ in range(20)]))
    assert loss_of(measure) < 0.7 * before


@pytest.mark.parametrize("images_of_a_block", [13, 5])
def test_on_global_vectors_it_is_the_loss_of_row_1(images_of_a_block, monkeypatch):
    """A model of global vectors alone, with the same weights, has the same loss and gradient."""
    config = ModelConfig(**SIZES, word_dropout=0.0, image_global="regions", balance_fusion=True)
    model = HSLM(config, WORDS, dtype="float64")
    randomize_model(model)
    row_1 = HSLM(
        dataclasses.replace(config, cross_attention=False, local_alignment=False),
        WORDS,
        dtype="float64",
    )
    by_path = {variable.path: variable for variable in model.trainable_variables}
    for variable in row_1.trainable_variables:
        variable.assign(by_path[variable.path])
    batch = data()
    batch["region_features"] = tf.cast(batch["region_features"], "float64")
    blocks = images_of_a_block * len(IMAGE_INDEX) * SIZES["joint_dim"]
    monkeypatch.setattr(trained_scores, "BLOCK_NUMBERS", blocks)
    found = {}
    for part, on in ((model, "global"), (row_1, "score")):
        part.compile(keras.optimizers.SGD(1.0), ContrastiveLoss(on=on))
        with tf.GradientTape() as tape:
            losses = losses_at(part, batch, 0)
        gradients = tape.gradient(losses.loss, part.trainable_variables)
        paths = [variable.path for variable in part.trainable_variables]
        found[on] = losses.loss, dict(zip(paths, gradients, strict=True))
    assert_close(found["global"][0], found["score"][0], 1e-10)
    for path, gradient in found["global"][1].items():
        expected = found["score"][1].get(path)
        if expected is None or path == WITHOUT_GRADIENT:
            # What is local, and the gate, which cancels for a single vector.
            size = 0 if gradient is None else np.max(np.abs(tf.convert_to_tensor(gradient)))
            assert size < 1e-12, path
        else:
            assert_close(tf.convert_to_tensor(gradient), tf.convert_to_tensor(expected), 1e-9)


def test_a_step_on_global_vectors_moves_nothing_local():
    model = HSLM(ModelConfig(**SIZES, image_global="regions"), WORDS)
    model.compile(keras.optimizers.Adam(1e-2), ContrastiveLoss(on="global"))
    before = {v.path: np.asarray(v).copy() for v in model.trainable_variables}
    model.train_step(data())
    moved = {v.path for v in model.trainable_variables if np.any(np.asarray(v) != before[v.path])}
    still = {path for path in before if path not in moved}
    assert any("local_similarity" in path for path in still)
    assert any("cross_attention" in path for path in still)
    assert any("global_similarity" in path for path in moved)
    assert any("word_embedding" in path for path in moved)


PARTS = ModelConfig(
    **SIZES, word_dropout=0.0, mgcn=False, self_attention=False, image_global="regions",
    attention="leaky_softmax",
)  # fmt: skip


@pytest.mark.parametrize("images_of_a_block", [13, 5])
@pytest.mark.parametrize("attention", ["leaky_softmax", "softmax", "hard"])
def test_on_parts_it_adds_a_loss_on_the_alignment(attention, images_of_a_block, monkeypatch):
    config = dataclasses.replace(PARTS, attention=attention)
    model = HSLM(config, WORDS, dtype="float64")
    randomize_model(model)
    batch = data()
    batch["region_features"] = tf.cast(batch["region_features"], "float64")
    images = model.image_encoder({key: batch[key] for key in ("region_features", "region_mask")})
    texts = model.text_encoder({"token_ids": batch["token_ids"]})
    gamma = 0.0
    if attention != "hard":
        gamma = float(model.matcher.get_layer("cross_attention").gamma)
    cosines = np.empty((13, 13))
    for i in range(13):
        regions = images["regions"][i][images["region_mask"][i]].numpy()
        for j in range(13):
            words = texts["words"][j][texts["word_mask"][j]].numpy()
            # Words attend one by one.
            alone = "softmax" if attention.endswith("softmax") else attention
            attended, _ = cross_attention(words, regions, alone, gamma)
            cosines[i, j] = np.mean(np.sum(words * attended, axis=-1))
    expected = contrastive_loss(cosines, IMAGE_INDEX, batch["token_ids"].numpy(), 40.0).loss

    monkeypatch.setattr(
        trained_scores,
        "BLOCK_NUMBERS",
        images_of_a_block * int(tf.math.count_nonzero(batch["token_ids"])) * SIZES["max_regions"],
    )
    found = {}
    for on in ("global", "parts"):
        model.compile(keras.optimizers.SGD(1.0), ContrastiveLoss(on=on))
        with tf.GradientTape() as tape:
            losses = losses_at(model, batch, 0)
        found[on] = losses.loss, tape.gradient(losses.loss, model.trainable_variables)
    assert_close(found["parts"][0], found["global"][0] + expected, 1e-10)
    moved = {
        variable.path
        for variable, gradient in zip(model.trainable_variables, found["parts"][1], strict=True)
        if gradient is not None and np.any(tf.convert_to_tensor(gradient))
    }
    assert any("cross_attention" in path for path in moved) == (attention != "hard")
    assert not any("local_similarity" in path for path in moved)


def test_a_large_batch_is_compared_in_halves(monkeypatch):
    """The loss is that of both halves, with everything that has a gradient."""
    model = HSLM(PARTS, WORDS, dtype="float64")
    randomize_model(model)
    model.compile(keras.optimizers.SGD(1.0), ContrastiveLoss(on="parts"))
    batch = data()
    batch["region_features"] = tf.cast(batch["region_features"], "float64")
    loss = ContrastiveLoss(40.0)

    def alignment_loss(rows):
        part = {key: x[rows] for key, x in batch.items()}
        images = model.image_encoder({k: part[k] for k in ("region_features", "region_mask")})
        texts = model.text_encoder({"token_ids": part["token_ids"]})
        admissible = admissible_negatives(part["image_index"], part["token_ids"])
        return loss.of_matrix(model.score_matrix(images, texts, "alignment"), admissible).loss

    variables = [variable.value for variable in model.trainable_variables]
    unconnected = tf.UnconnectedGradients.ZERO
    with tf.GradientTape() as tape:
        expected = (6 * alignment_loss(slice(6)) + 7 * alignment_loss(slice(6, None))) / 13
    gradients = tape.gradient(expected, variables, unconnected_gradients=unconnected)
    monkeypatch.setattr(trained_scores, "ALIGNED_BATCH", 12)

    @tf.function
    def in_halves():
        with tf.GradientTape() as tape:
            found = alignment_loss(slice(None))
        return found, tape.gradient(found, variables, unconnected_gradients=unconnected)

    found, actual = in_halves()
    # Pairs 4 and 9 have the same caption, but lie in other halves.
    assert_close(found, expected, 1e-10)
    assert_same_gradients(actual, gradients)


def test_after_its_first_steps_the_alignment_counts_a_tenth():
    model = HSLM(PARTS, WORDS)
    randomize_model(model)
    batch, found = data(), {}
    for name, loss, step in (
        ("global", ContrastiveLoss(on="global"), 0),
        ("all steps", ContrastiveLoss(on="parts"), 9),
        ("first steps", ContrastiveLoss(on="parts", alignment_steps=5), 4),
        ("later", ContrastiveLoss(on="parts", alignment_steps=5), 5),
    ):
        model.compile(keras.optimizers.SGD(1.0), loss)
        found[name] = float(losses_at(model, batch, step).loss)
    alignment = found["all steps"] - found["global"]
    assert alignment > 0.1
    assert found["first steps"] == pytest.approx(found["all steps"])
    assert found["later"] == pytest.approx(found["global"] + alignment / 10, rel=1e-5)


def assert_same_gradients(actual, expected):
    """The alignment has a gradient for the encoders and gamma, not for the rest of the matcher."""
    actual, expected = (
        list(map(np.asarray, map(tf.convert_to_tensor, x))) for x in (actual, expected)
    )
    assert sum(np.any(x) for x in expected) >= 10
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * max(np.abs(b).max(), 1e-3))


def test_gradient_on_parts_does_not_depend_on_the_blocks(monkeypatch):
    model = HSLM(PARTS, WORDS, dtype="float64")
    randomize_model(model)
    model.compile(keras.optimizers.SGD(1.0), ContrastiveLoss(on="parts"))
    batch = data()
    batch["region_features"] = tf.cast(batch["region_features"], "float64")
    found = []
    for block_numbers in (10**9, 1):
        monkeypatch.setattr(trained_scores, "BLOCK_NUMBERS", block_numbers)
        with tf.GradientTape() as tape:
            losses = losses_at(model, batch, 0)
        gradients = tape.gradient(
            losses.loss,
            [variable.value for variable in model.trainable_variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        found.append(gradients)
    assert_same_gradients(*found)
