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
@pytest.mark.parametrize("affinity", ["mean", "dot", "softmax"])
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


def test_folded_maps_equal_the_factors():
    """A and the output in the folded form, with W_mu W_nu^T and W_g W_r as one matrix each."""
    nodes = draw_images("float64")[0]
    layer = GraphConv("dot", dtype="float64")
    layer(nodes[None])
    randomize(layer)
    mu, nu, message, update = weights_of(layer)
    ones = np.ones((len(nodes), 1))
    relations = (
        nodes @ (mu.kernel @ nu.kernel.T) @ nodes.T
        + (nodes @ (mu.kernel @ nu.bias))[:, None] @ ones.T
        + ones @ (nodes @ (nu.kernel @ mu.bias))[None]
        + mu.bias @ nu.bias
    )
    folded = (
        relations @ nodes @ (message.kernel @ update.kernel)
        + (relations @ ones) * (message.bias @ update.kernel)
        + update.bias
        + nodes
    )
    assert_close(layer(nodes[None])[0], folded, 1e-10)


def test_softmax_affinity_trains():
    nodes, mask = pad_batch(draw_images())
    layer = GraphConv("softmax")
    layer(nodes, mask=mask)
    randomize(layer)
    with tf.GradientTape() as tape:
        outputs = layer(nodes, mask=mask)
        loss = tf.reduce_sum(outputs * np.random.default_rng(5).normal(size=outputs.shape))
    gradients = tape.gradient(loss, [variable.value for variable in layer.trainable_variables])
    sizes = {
        variable.path: np.max(np.abs(gradient))
        for variable, gradient in zip(layer.trainable_variables, gradients, strict=True)
    }
    # mu(r_i) . b_nu is the same for all columns of row i and cancels in the softmax.
    cancelled = sizes.pop(layer.nu.bias.path)
    assert cancelled < 1e-5 * max(sizes.values())
    assert np.all(np.isfinite(list(sizes.values())))
    assert min(sizes.values()) > 1e-5 * max(sizes.values())


def test_mask_of_the_layer_before_is_used():
    ids = np.array([[3, 1, 2, 0, 0], [1, 4, 0, 0, 0]])
    embedding = keras.layers.Embedding(5, WIDTH, mask_zero=True)
    layer = GraphConv()
    layer(embedding(ids))
    randomize(layer)
    np.testing.assert_array_equal(layer(embedding(ids)), layer(embedding(ids), mask=ids != 0))


def test_unknown_affinity():
    with pytest.raises(ValueError, match=r"`affinity`.*Received: affinity=cosine$"):
        GraphConv("cosine")
