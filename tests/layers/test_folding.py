"""GraphConv's folded and plain products are the same function."""

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.layers import GraphConv
from tests.layer_test import assert_close, randomize


@pytest.mark.parametrize("affinity", ["mean", "dot", "softmax"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_folded_equals_plain(affinity, dtype, tolerance):
    """Two graphs of 4 nodes are fewer rows than the width 16 (plain), ten are more (folded)."""
    rng = np.random.default_rng(0)
    layer = GraphConv(affinity, dtype=dtype)
    layer.build((None, 4, 16))
    randomize(layer)
    nodes = tf.constant(rng.normal(size=(10, 4, 16)), dtype)
    mask = tf.constant(np.arange(4) < rng.integers(1, 5, (10, 1)))

    def outputs_and_gradients(batch):
        with tf.GradientTape() as tape:
            tape.watch(nodes)
            outputs = tf.concat(
                [
                    layer(nodes[i : i + batch], mask=mask[i : i + batch])
                    for i in range(0, 10, batch)
                ],
                axis=0,
            )
            total = tf.reduce_sum(outputs**2)
        return outputs, tape.gradient(total, [nodes, *layer.trainable_variables])

    folded, folded_gradients = outputs_and_gradients(10)
    plain, plain_gradients = outputs_and_gradients(2)
    assert_close(folded, plain, tolerance)
    for a, b in zip(folded_gradients, plain_gradients, strict=True):
        # With a softmax the bias of nu cancels: both gradients are rounding errors.
        if affinity == "softmax" and np.abs(b).max() < 1e-4:
            continue
        assert_close(a, b, tolerance)
