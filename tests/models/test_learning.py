import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.models.hslm import HSLM
from hslm_tf.training import HardestNegativeTripletLoss, NegativeCurriculum
from tests.layer_test import assert_close
from tests.models.ablated_models import (
    WITHOUT_GRADIENT,
    ablation,
    arguments,
    built,
    matrix,
    weights_of,
)
from tests.tiny_model import WORDS, random_batch, randomize_model

BATCH = [0, 1, 2, 2, 3, 4]


def step_of(model: HSLM) -> tuple[dict[str, float], dict[str, float]]:
    """The report of a step, and the largest change that it makes to each variable."""
    before = weights_of(model)
    report = {name: float(value) for name, value in model.train_step(random_batch(BATCH)).items()}
    changes = {path: np.max(np.abs(x - before[path])) for path, x in weights_of(model).items()}
    randomize_model(model)
    assert np.all(np.isfinite([*report.values(), *changes.values()]))
    return report, changes


def assert_all_learn(model: HSLM) -> None:
    model.compile(keras.optimizers.SGD(1.0), HardestNegativeTripletLoss(2.0), run_eagerly=True)
    report, changes = step_of(model)
    assert report["active_hinges"] > 0
    if model.config.as_printed:
        # Without unit vectors the attention is nearly hard, and this bias has nearly no gradient.
        del changes["attended_pooling/query/bias"]
    for path, change in changes.items():
        assert (change > 1e-6) != (path in WITHOUT_GRADIENT), path


def test_every_variable_of_every_ablation_learns(ablated):
    assert_all_learn(ablated)


@pytest.mark.parametrize("options", [
    {"attention": "softmax"},
    {"as_printed": True},
    {"as_printed": True, "attention": "dot_sigmoid"},
    {"region_dropout": 0.1, "feature_dropout": 0.1, "drop_regions": 0.2, "drop_words": 0.2},
], ids=["softmax", "as printed", "letter of the paper", "dropout"])  # fmt: skip
def test_options(options):
    config = dataclasses.replace(ablation(12), **options)
    model = built(config)
    assert_all_learn(model)
    assert_close(model.score(*arguments()), np.diag(matrix(model)))
    assert HSLM.from_config(model.get_config()).config == config


@pytest.mark.parametrize("policy, tolerance", [("mixed_float16", 3e-2), ("mixed_bfloat16", 2e-1)])
def test_mixed_precision(policy, tolerance, whole):
    keras.utils.set_random_seed(0)
    model = built(ablation(12), dtype=policy)
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    scores = matrix(model)
    assert scores.dtype == "float32"
    assert_close(scores, matrix(whole), tolerance)
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    report, changes = step_of(model)
    assert report["gradient_norm"] < 100
    assert sum(change == 0 for change in changes.values()) <= len(WITHOUT_GRADIENT)
    assert HSLM.from_config(model.get_config()).policy_name == policy


def test_loss_scaling_comes_with_the_model_under_mixed_float16():
    """The policy of the model counts, not the global one of the script that loads it."""
    model = HSLM(ablation(1), WORDS, dtype="mixed_float16")
    model.compile(keras.optimizers.Adam(1e-3))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


@pytest.mark.slow
def test_compiled_fit_learns():
    """A graph of its own, as users run it: `fit` on a data set, with a short last batch."""
    nothing = {"word_dropout": 0.0, "drop_words": 0.0, "drop_regions": 0.0}
    model = built(dataclasses.replace(ablation(9), **nothing))
    loss = HardestNegativeTripletLoss(curriculum=NegativeCurriculum(2, 6))
    model.compile(keras.optimizers.Adam(5e-3, global_clipnorm=2.0), loss)
    first = tf.data.Dataset.from_tensors(random_batch([0, 1, 2, 2, 3, 4], seed=0))
    dataset = first.concatenate(tf.data.Dataset.from_tensors(random_batch([0, 1, 1], seed=1)))
    history = model.fit(dataset, epochs=12, verbose=0).history
    assert model.optimizer.iterations == 24
    assert history["candidate_fraction"][0] == 0 and history["candidate_fraction"][-1] == 1
    # From the fifth epoch on all negatives compete.
    assert np.mean(history["loss"][-2:]) < 0.6 * np.mean(history["loss"][4:6])


def test_captions_may_be_strings_in_plain_arrays():
    model = built(ablation(1))
    model.compile(keras.optimizers.SGD(0.1), HardestNegativeTripletLoss(2.0))
    features = np.random.default_rng(0).normal(size=(6, 4, model.config.region_dim))
    captions = ["a dog runs", "two dogs", "a man", "a man runs", "dog", "a red ball"]
    token_ids = model.tokenizer(captions).to_tensor()
    score = model.predict({"region_features": features, "token_ids": token_ids}, verbose=0)
    forms = [captions, np.array(captions), tf.constant(captions), np.array(captions, object)]
    for form in forms:
        x = {"region_features": features, "captions": form}
        assert_close(model.predict(x, verbose=0)["score"], score["score"])
        assert_close(model(x)["score"], score["score"])
    assert_close(score["score"], model.score(features, captions))
    weights = weights_of(model)
    dataset = tf.data.Dataset.from_tensors(x)
    for data, validation_data in ((x, x), (x, (x, None)), (dataset, dataset)):
        losses = model.fit(data, validation_data=validation_data, verbose=0).history
        assert np.isfinite(losses["loss"]) and np.isfinite(losses["val_loss"])
    assert any(np.any(weights[path] != value) for path, value in weights_of(model).items())
