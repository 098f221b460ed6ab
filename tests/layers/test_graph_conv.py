import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.layers import GraphConv
from tests.layer_test import affine, assert_close, pad_batch, randomize, run_layer_test
from tests.oracles.graph_conv import GraphConvWeights, graph_conv

WIDTH = 8


def draw_images(dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.normal(size=(count, WIDTH)).astype(dtype) for count in (6, 1, 4)]


def weights_of(layer: GraphConv) -> GraphConvWeights:
    return GraphConvWeights(
        affine(layer.mu), affine(layer.nu), affine(layer.message), affine(layer.update)
    )


@pytest.mark.parametrize("affinity", ["mean", "dot"])
def test_layer(affinity):
    nodes, mask = pad_batch(draw_images(), garbage=1.0)
    padded_nodes, padded_mask = pad_batch(draw_images(), length=12)
    run_layer_test(
        GraphConv,
        init_kwargs={"affinity": affinity},
        inputs={"nodes": nodes, "mask": mask},
        expected_output_shape=(3, 6, WIDTH),
        expected_num_weights=8,
        padded_inputs={"nodes": padded_nodes, "mask": padded_mask},
        unpad=lambda outputs: outputs[:, :6],
    )


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("affinity", ["mean", "dot"])
def test_equals_oracle(dtype, tolerance, affinity):
    images = draw_images(dtype)
    nodes, mask = pad_batch(images)
    layer = GraphConv(affinity, dtype=dtype)
    layer(nodes, mask=mask)
    randomize(layer)
    convolved = np.asarray(layer(nodes, mask=mask))
    for image, output in zip(images, convolved, strict=True):
        expected = graph_conv(image, weights_of(layer), affinity)
        assert_close(output[: len(image)], expected, tolerance)
        assert not np.any(output[len(image) :])
        assert_close(layer(image[None])[0], expected, tolerance)


def test_starts_as_the_identity():
    nodes = np.stack(draw_images()[:1])
    np.testing.assert_array_equal(GraphConv()(nodes), nodes)


def test_mask_of_the_layer_before_is_used():
    ids = np.array([[3, 1, 2, 0, 0], [1, 4, 0, 0, 0]])
    embedding = keras.layers.Embedding(5, WIDTH, mask_zero=True)
    layer = GraphConv()
    layer(embedding(ids))
    randomize(layer)
    np.testing.assert_array_equal(layer(embedding(ids)), layer(embedding(ids), mask=ids != 0))


@pytest.mark.parametrize("affinity", ["mean", "dot"])
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
        assert_close(a, b, tolerance)
