import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.layers import ByLength


@keras.saving.register_keras_serializable(package="tests")
class SumOfCaption(keras.layers.Layer):
    """Adds the sum of the real states of a caption, times a weight, to each of them."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, states, padding_mask, training=False):
        real = tf.cast(padding_mask, states.dtype)[..., None]
        return states + tf.cast(self.scale, states.dtype) * tf.reduce_sum(
            states * real, 1, keepdims=True
        )


def batch(count):
    rng = np.random.default_rng(count)
    lengths = rng.integers(1, 8, count)
    lengths[0] = 7
    mask = np.arange(7) < lengths[:, None]
    return rng.normal(size=(count, 7, 4)).astype("float32"), mask


@pytest.mark.parametrize("count", [1, 3, 4, 9])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_groups_change_nothing(count, dtype):
    states, mask = batch(count)
    layer = ByLength([SumOfCaption(dtype=dtype), SumOfCaption(dtype=dtype)], dtype=dtype)
    whole = np.asarray(layer(states, mask, training=False), "float32")
    grouped = tf.function(lambda x, m: layer(x, m, training=True))(states, mask)
    assert grouped.dtype == tf.as_dtype(layer.compute_dtype)
    tolerance = 1e-5 if dtype == "float32" else 0.5
    np.testing.assert_allclose(np.asarray(grouped, "float32")[mask], whole[mask], atol=tolerance)


def test_gradients_are_those_of_the_whole_batch():
    states, mask = batch(9)
    layer, gradients = ByLength([SumOfCaption()], groups=3), []
    for training in (False, True):
        with tf.GradientTape() as tape:
            output = layer(states, mask, training=training)
            loss = tf.reduce_sum(tf.boolean_mask(output, mask) ** 2)
        gradients.append(tape.gradient(loss, layer.trainable_variables))
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-5)


def test_config_round_trip():
    layer = ByLength([SumOfCaption(name="sum")], groups=2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.groups == 2 and [inner.name for inner in again.run_layers] == ["sum"]
    output = again(keras.Input((None, 4)), keras.Input((None,), dtype="bool"))
    assert output.shape == (None, None, 4)
    assert len(again.trainable_variables) == 1
