import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.training.callbacks import Validation, averaged_weights
from tests.training.test_trainer import ScalarProduct, compiled, random_data, weights_of

MOMENTUM = 0.75


def trained(policy: str = "float32") -> tuple[ScalarProduct, list[np.ndarray]]:
    """A model after five steps, and the average of its weights computed beside it."""
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=MOMENTUM)
    model = compiled(optimizer, policy)
    average = None
    for seed in range(5):
        model.train_step(random_data(seed=seed))
        now = [np.float64(weights) for weights in weights_of(model)]
        if average is None:
            average = now
        average = [MOMENTUM * a + (1 - MOMENTUM) * b for a, b in zip(average, now, strict=True)]
    return model, average


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_model_has_the_average_for_a_while(policy):
    model, average = trained(policy)
    before = weights_of(model)
    with averaged_weights(model):
        for a, b in zip(weights_of(model), average, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b, c in zip(weights_of(model), before, average, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.max(np.abs(a - c)) > 1e-3


def test_weights_come_back_after_an_error():
    model, _ = trained()
    before = weights_of(model)
    with pytest.raises(ZeroDivisionError), averaged_weights(model):
        _ = 1 / 0
    for a, b in zip(weights_of(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_an_average_nothing_changes():
    model = compiled(keras.optimizers.SGD(0.5))
    model.train_step(random_data())
    before = weights_of(model)
    with averaged_weights(model):
        for a, b in zip(weights_of(model), before, strict=True):
            np.testing.assert_array_equal(a, b)


def test_validation_measures_the_average():
    model, average = trained()
    validation = Validation(lambda model: {"first": float(weights_of(model)[0][0, 0])})
    validation.set_model(model)
    logs = {}
    validation.on_epoch_end(0, logs)
    assert logs["val_first"] == pytest.approx(average[0][0, 0], rel=1e-4)


def test_average_survives_saving(tmp_path):
    optimizer = keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=MOMENTUM)
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(optimizer, "mse")
    model.train_on_batch(tf.ones([4, 2]), tf.zeros([4, 1]))
    model.train_on_batch(tf.ones([4, 2]), tf.ones([4, 1]))
    model.save(tmp_path / "model.keras")
    with averaged_weights(model):
        expected = [np.asarray(v) for v in model.trainable_variables]
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    with averaged_weights(loaded):
        for a, b in zip(loaded.trainable_variables, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.any(np.asarray(loaded.trainable_variables[0]) != expected[0])
