import keras
import numpy as np
import pytest

from hslm_tf.serving.precision import StoredWeights

# Half a unit in the last place for the two halves; half a step of 127 for eight bits.
LARGEST_ERROR = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8, "int8": 0.5 / 127}
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


def dense() -> keras.layers.Dense:
    layer = keras.layers.Dense(40, bias_initializer="random_normal")
    layer.build((None, 300))
    layer.kernel.assign(layer.kernel * np.linspace(0.1, 9, 40))
    return layer


@pytest.mark.parametrize("precision", BYTES)
def test_layers_compute_with_matrices_of_the_precision_and_full_vectors(precision):
    layer = dense()
    stored = StoredWeights(layer.weights, precision)
    kernel, bias = (module() for module in stored.modules)
    exact = layer.kernel.numpy()
    # Eight bits have one scale for every output channel, floating-point numbers one each.
    size = np.abs(exact).max(axis=0) if precision == "int8" else np.abs(exact)
    # 2^-25 is half the step of the smallest float16 numbers.
    largest = 1.001 * LARGEST_ERROR[precision] * size + (precision == "float16") * 2**-25
    assert np.all(np.abs(kernel - exact) <= largest)
    np.testing.assert_array_equal(bias, layer.bias)
    variable = stored.modules[0].stored
    assert variable.dtype.size == BYTES[precision] and variable.shape == exact.shape
    x = np.random.default_rng(0).normal(size=(3, 300)).astype(np.float32)
    layer.kernel.assign(np.zeros_like(kernel))
    with stored.scope():
        y = layer(x)
    np.testing.assert_allclose(y, x @ kernel.numpy() + bias, rtol=1e-5, atol=1e-4)


def test_a_column_of_zeros_stays_zero_in_eight_bits():
    layer = dense()
    kernel = layer.kernel.numpy()
    kernel[:, 3] = 0
    layer.kernel.assign(kernel)
    stored = StoredWeights(layer.weights, "int8").modules[0]().numpy()
    assert np.isfinite(stored).all() and not stored[:, 3].any()


def test_unknown_precision():
    with pytest.raises(ValueError, match="precision='int4'"):
        StoredWeights([], "int4")
