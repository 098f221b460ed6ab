import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.layers.numerics import l2_normalize, mask_rows, masked_softmax, num_valid, wide_dtype
from tests.layer_test import assert_close
from tests.oracles.numerics import l2_normalize_rows, softmax

MASK = np.array([[True, True, False, True], [False, True, False, False]])


@pytest.mark.parametrize(
    "dtype, tolerance",
    [("float16", 1e-3), ("bfloat16", 8e-3), ("float32", 1e-6), ("float64", 1e-12)],
)
def test_l2_normalize(dtype, tolerance):
    x = tf.cast(np.random.default_rng(0).normal(size=(5, 7)), dtype)
    normalized = l2_normalize(x)
    assert normalized.dtype == dtype
    assert_close(normalized, l2_normalize_rows(tf.cast(x, "float64").numpy()), tolerance)


def test_l2_normalize_beyond_the_range_of_float16():
    x = tf.constant([[300.0, 400.0], [3e-5, 4e-5]], "float16")
    assert_close(l2_normalize(x), np.array([[0.6, 0.8], [0.6, 0.8]]), 1e-2)


def test_gradient_of_l2_normalize():
    rng = np.random.default_rng(0)
    x, upstream = rng.normal(size=(2, 6, 5))
    # Shorter than the bound: no direction, so no gradient.
    x[3] *= 1e-8
    x[4] = 0
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        loss = tf.reduce_sum(l2_normalize(inputs) * upstream)
    gradient = tape.gradient(loss, inputs).numpy()
    for row, up, actual in zip(x, upstream, gradient, strict=True):
        length = np.linalg.norm(row)
        if length < 1e-6:
            assert not actual.any()
        else:
            expected = (np.eye(5) - np.outer(row, row) / length**2) @ up / length
            assert_close(actual, expected, 1e-10)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_masked_softmax(dtype):
    logits = tf.cast(10 * np.random.default_rng(0).normal(size=(2, 4)), dtype)
    weights = masked_softmax(logits, MASK)
    assert weights.dtype == wide_dtype(logits)
    assert not np.any(np.asarray(weights)[~MASK])
    for row, mask, row_weights in zip(np.asarray(logits), MASK, np.asarray(weights), strict=True):
        assert_close(row_weights[mask], softmax(np.float64(row[mask])), 1e-6)
    assert_close(masked_softmax(logits, None), masked_softmax(logits, np.full((2, 4), True)), 1e-6)


def test_masked_softmax_of_nothing_is_zero():
    logits = tf.Variable([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        weights = masked_softmax(logits, np.array([[False, False]]))
        loss = tf.reduce_sum(weights * [[1.0, 2.0]])
    np.testing.assert_array_equal(weights, [[0.0, 0.0]])
    np.testing.assert_array_equal(tape.gradient(loss, logits), [[0.0, 0.0]])


def test_num_valid():
    x = np.zeros((3, 4, 5), "float32")
    mask = np.concatenate([MASK, np.zeros((1, 4), bool)])
    np.testing.assert_array_equal(num_valid(mask, x, "float32"), [[[3]], [[1]], [[1]]])
    assert num_valid(None, x, "float32") == 4


def test_mask_rows():
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    x[~MASK] = np.nan
    masked = np.asarray(mask_rows(x, MASK))
    np.testing.assert_array_equal(masked[MASK], x[MASK])
    assert not np.any(masked[~MASK])
    assert mask_rows(x, None) is x
