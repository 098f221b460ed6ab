import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.layers import BidirectionalGRU
from tests.layer_test import assert_close, pad_batch, randomize, run_layer_test
from tests.oracles.gru import GRUWeights, bidirectional_gru

WIDTH, UNITS = 6, 5


def draw_captions(dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=(length, WIDTH)).astype(dtype) for length in (3, 7, 1, 7, 4)]


def built(dtype: str, implementation: str = "packed") -> BidirectionalGRU:
    layer = BidirectionalGRU(UNITS, implementation, dtype=dtype)
    layer.build((None, None, WIDTH))
    randomize(layer)
    return layer


def test_layer():
    words, mask = pad_batch(draw_captions(), garbage=1.0)
    padded_words, padded_mask = pad_batch(draw_captions(), length=12)
    run_layer_test(
        BidirectionalGRU,
        init_kwargs={"units": UNITS, "implementation": "packed"},
        inputs={"words": words, "mask": mask},
        expected_output_shape=(5, 7, UNITS),
        expected_num_weights=6,
        padded_inputs={"words": padded_words, "mask": padded_mask},
        unpad=lambda outputs: outputs[:, :7],
    )


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize(
    "implementation, training", [("packed", False), ("packed", True), ("keras", False)]
)
def test_equals_oracle(dtype, tolerance, implementation, training):
    captions = draw_captions(dtype)
    words, mask = pad_batch(captions)
    layer = built(dtype, implementation)
    weights = [np.asarray(weight) for weight in layer.weights]
    forward, backward = GRUWeights(*weights[:3]), GRUWeights(*weights[3:])
    states = np.asarray(layer(words, mask=mask, training=training))
    for caption, output in zip(captions, states, strict=True):
        expected = bidirectional_gru(caption, forward, backward)
        assert_close(output[: len(caption)], expected, tolerance)
        alone = layer(caption[None], training=training)[0]
        assert_close(alone, expected, tolerance)
        if implementation == "packed":
            assert not np.any(output[len(caption) :])


@pytest.mark.parametrize("in_graph, training", [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
def test_gradients_equal_those_of_keras(dtype, tolerance, in_graph, training):
    words, mask = pad_batch(draw_captions(dtype), garbage=1.0)
    words = tf.constant(words)
    wanted = np.random.default_rng(5).normal(size=(5, 7, UNITS)) * mask[..., None]

    def gradients(layer: BidirectionalGRU) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(words)
            states = layer(words, mask=mask, training=training)
            loss = tf.reduce_sum(states * wanted.astype(dtype))
        return tape.gradient(loss, [words, *layer.trainable_weights])

    packed, keras_layer = built(dtype), built(dtype, "keras")
    compute = tf.function(gradients) if in_graph else gradients
    for actual, expected in zip(compute(packed), gradients(keras_layer), strict=True):
        assert_close(actual, expected, tolerance)


@pytest.mark.parametrize("policy, tolerance", [("mixed_bfloat16", 3e-2), ("mixed_float16", 1e-2)])
def test_gradients_under_mixed_precision(policy, tolerance):
    words, mask = pad_batch(draw_captions(), garbage=1.0)

    def gradients(layer: BidirectionalGRU) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            states = layer(words, mask=mask, training=True)
            loss = tf.reduce_sum(tf.cast(states, tf.float32)[..., 0])
        return tape.gradient(loss, layer.trainable_weights)

    for actual, expected in zip(gradients(built(policy)), gradients(built("float32")), strict=True):
        assert actual.dtype == tf.float32
        assert_close(actual, expected, tolerance)
