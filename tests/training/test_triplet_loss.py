"""The loss through 3 pairs per item against the whole matrix of scores, gradients included."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.training import HardestNegativeTripletLoss
from hslm_tf.training.retrieval_loss import admissible_negatives
from tests.layer_test import assert_close
from tests.oracles.triplet_loss import triplet_loss
from tests.tiny_model import (
    SIZES,
    WORDS,
    random_images,
    random_token_ids,
    randomize_model,
)
from tests.training.helpers import (
    assert_equal_gradients,
    curriculum_loss,
    dense,
    encoded,
    loss_and_gradients,
)

# 36 pairs of 20 images, some with two captions and some with four, neighbours or far apart.
IMAGE_INDEX = np.array([*range(20), *range(8), 3, 3, 5, 5, 15, 16, 17, 17], "int32")


class Case(NamedTuple):
    """A way to train.

    Attributes:
        loss: the loss under test.
        step: the training step.
        pairs: which pairs of the batch are taken.
        training: whether words and regions are dropped.
    """

    loss: HardestNegativeTripletLoss
    step: int = 10**6
    pairs: slice = slice(None)
    training: bool = False


class LossWithoutSomeCandidates(HardestNegativeTripletLoss):
    """Leaves some queries without a negative, as the curriculum alone never does."""

    def candidates(self, admissible, step):
        captions, images = super().candidates(admissible, step)
        places = tf.range(tf.shape(admissible)[0])[:, None]
        return captions & (places % 3 != 0), images & (places % 4 != 0)


CASES = {
    "all negatives": Case(HardestNegativeTripletLoss(0.02)),
    "a tenth of the negatives": Case(curriculum_loss(), step=141),
    "random negatives": Case(curriculum_loss(), step=99),
    "words and regions dropped": Case(curriculum_loss(), step=160, training=True),
    "queries without negatives": Case(LossWithoutSomeCandidates(0.02)),
    "short last batch": Case(curriculum_loss(0.5), 169, slice(15, 24)),
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("float32", 1e-5), marks=pytest.mark.slow, id="float32"),
        pytest.param(("float64", 1e-10), id="float64"),
    ],
)
def precision(request) -> tuple[HSLM, float]:
    dtype, tolerance = request.param
    config = ModelConfig(**SIZES, drop_regions=0.2, drop_words=0.2)
    return HSLM(config, WORDS, dtype=dtype), tolerance


@pytest.fixture(scope="module")
def batch(precision) -> dict[str, np.ndarray]:
    model, _ = precision
    randomize_model(model)
    return pairs_of_two_kinds(model)


def pairs_of_two_kinds(model: HSLM) -> dict[str, np.ndarray]:
    """A batch of which every second pair scores high, so that not every hinge is active."""
    regions, mask = random_images(20)
    token_ids = random_token_ids(300)
    scores = model.score_all(
        model.encode_image(regions, mask), model.text_encoder({"token_ids": token_ids})
    ).numpy()
    captions = np.arange(len(IMAGE_INDEX))
    for k in range(0, len(IMAGE_INDEX), 2):
        others = np.delete(scores, IMAGE_INDEX[k], axis=0)
        lead = scores[IMAGE_INDEX[k]] - np.max(others, axis=0)
        lead[captions] = -np.inf
        captions[k] = np.argmax(lead)
    # Two images with the same caption.
    captions[11] = captions[13]
    return {
        "region_features": regions[IMAGE_INDEX].astype(model.dtype),
        "region_mask": mask[IMAGE_INDEX],
        "token_ids": token_ids[captions],
        "image_index": IMAGE_INDEX,
    }


class Formulation(NamedTuple):
    loss: tf.Tensor
    gradients: list[tf.Tensor]
    active: float


def replayed(model: HSLM, function: Callable[[], Formulation]) -> Formulation:
    """Calls a function and rewinds all seed generators, so that the next call drops the same."""
    states = [v for v in model.non_trainable_variables if "seed_generator" in v.path]
    assert states
    before = [np.asarray(state).copy() for state in states]
    result = function()
    for state, value in zip(states, before, strict=True):
        state.assign(value)
    return result


def through_pairs(model: HSLM, data: dict, case: Case) -> Formulation:
    """The product's: what `train_step` differentiates."""
    model.retrieval_loss = case.loss
    losses, gradients = loss_and_gradients(model, data, case.step, case.training)
    return Formulation(losses.loss, gradients, float(losses.active_hinges))


def score_matrix(model: HSLM, data: dict, training: bool) -> tf.Tensor:
    return model.score_all(*encoded(model, data, training), len(data["image_index"]))


def first_maximum(scores: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Marks the first largest candidate of every row, none in a row without candidates."""
    scores = tf.where(candidates, scores, -np.inf)
    largest = candidates & (scores == tf.reduce_max(scores, axis=1, keepdims=True))
    return largest & (tf.cumsum(tf.cast(largest, tf.int32), axis=1) == 1)


def through_matrix(model: HSLM, data: dict, case: Case) -> Formulation:
    """The full computation; the oracle confirms its loss and the slopes of its scores."""
    admissible = admissible_negatives(
        tf.constant(data["image_index"]), tf.constant(data["token_ids"])
    )
    candidates = case.loss.candidates(admissible, tf.constant(case.step, tf.int64))
    with tf.GradientTape(persistent=True) as tape:
        scores = score_matrix(model, data, case.training)
        positive = tf.linalg.diag_part(scores)[:, None]
        hinges = []
        for queries, allowed in zip((scores, tf.transpose(scores)), candidates, strict=True):
            hinge = tf.maximum(case.loss.margin - positive + queries, 0)
            chosen = first_maximum(queries, allowed)
            hinges.append(tf.reduce_sum(tf.where(chosen, hinge, 0), axis=1))
        loss = tf.reduce_mean(hinges[0] + hinges[1])
    expected = triplet_loss(
        scores,
        data["image_index"],
        case.loss.margin,
        *(allowed.numpy() for allowed in candidates),
    )
    assert_close(loss, expected.loss, 1e-6)
    assert_close(tape.gradient(loss, scores), expected.score_gradient, 1e-6)
    has_negative = tf.stack([tf.reduce_any(allowed, axis=1) for allowed in candidates])
    active = np.count_nonzero(hinges) / np.count_nonzero(has_negative)
    return Formulation(loss, dense(tape.gradient(loss, model.trainable_variables)), active)


def assert_equal_formulations(
    model: HSLM, actual: Formulation, expected: Formulation, tolerance: float
) -> None:
    assert actual.active == pytest.approx(expected.active)
    assert_close(actual.loss, expected.loss, tolerance)
    assert_equal_gradients(model, actual.gradients, expected.gradients, tolerance)


@pytest.mark.parametrize("name", CASES)
def test_pairs_equal_the_whole_matrix(name, precision, batch):
    model, tolerance = precision
    case = CASES[name]
    randomize_model(model)
    data = {key: value[case.pairs] for key, value in batch.items()}
    pairs = replayed(model, lambda: through_pairs(model, data, case))
    matrix = replayed(model, lambda: through_matrix(model, data, case))
    assert_equal_formulations(model, pairs, matrix, tolerance)
    assert 0.1 < pairs.active < 0.96


def test_ties_go_to_the_first_index(precision, batch):
    """All scores are equal: only the choice among them decides the gradient of their last map."""
    model, tolerance = precision
    randomize_model(model)
    kernel = model.matcher.get_layer("similarity_fusion").score.kernel
    kernel.assign(tf.zeros_like(kernel))
    case = CASES["all negatives"]
    pairs = through_pairs(model, batch, case)
    assert_close(pairs.loss, 2 * case.loss.margin, tolerance)
    row = [variable is kernel for variable in model.trainable_variables].index(True)
    matrix = through_matrix(model, batch, case)
    assert_close(pairs.gradients[row], matrix.gradients[row], tolerance)


def test_batch_of_one_image_costs_nothing(precision, batch):
    model, _ = precision
    randomize_model(model)
    data = {key: value[[3, 23, 28, 29]] for key, value in batch.items()}
    assert set(data["image_index"]) == {3}
    for case in (CASES["all negatives"], CASES["random negatives"]):
        pairs = through_pairs(model, data, case)
        assert pairs.loss == 0 and pairs.active == 0
        assert all(np.all(np.asarray(gradient) == 0) for gradient in pairs.gradients)


def test_compiled_train_step_takes_the_gradient_of_the_whole_matrix():
    """Plain gradient descent, rate 1: the weights move by minus the gradient."""
    model = HSLM(ModelConfig(**SIZES, word_dropout=0.0), WORDS, dtype="float64")
    randomize_model(model)
    batch = pairs_of_two_kinds(model)
    case = CASES["a tenth of the negatives"]
    model.compile(keras.optimizers.SGD(1.0), case.loss)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(case.step)
    expected = through_matrix(model, batch, case)
    before = [np.asarray(variable).copy() for variable in model.trainable_variables]
    model.enter_stage(model.retrieval_loss.at(case.step))
    report = tf.function(model.train_step)({k: tf.constant(v) for k, v in batch.items()})
    moved = [a - np.asarray(b) for a, b in zip(before, model.trainable_variables, strict=True)]
    assert_equal_gradients(model, moved, expected.gradients, 1e-10)
    # Metrics are kept in float32.
    assert_close(report["loss"], expected.loss, 1e-6)
    norm = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in expected.gradients))
    assert_close(report["gradient_norm"], norm, 1e-6)
    assert float(report["active_hinges"]) == pytest.approx(expected.active)
    assert float(report["candidate_fraction"]) == pytest.approx(0.02**0.59)
