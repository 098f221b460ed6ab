import functools

import numpy as np
import pytest

from hslm_tf.layers import MGCN
from tests.layer_test import assert_close, pad_batch, randomize, run_layer_test
from tests.layers.test_graph_conv import WIDTH, draw_images, weights_of
from tests.oracles.graph_conv import affinity_matrix, mgcn
from tests.oracles.numerics import l2_normalize, layer_normalize


def normalizations_of(layer: MGCN) -> list | None:
    if layer.normalization is None:
        return None
    if layer.normalization == "l2":
        return [l2_normalize] * layer.num_layers
    return [
        functools.partial(
            layer_normalize,
            gamma=np.asarray(norm.gamma),
            beta=np.asarray(norm.beta),
            epsilon=norm.epsilon,
        )
        for norm in layer.norms
    ]


@pytest.mark.parametrize("normalization, num_weights", [("l2", 16), ("layer", 20), (None, 16)])
def test_layer(normalization, num_weights):
    images = [image / 4 for image in draw_images()]
    nodes, mask = pad_batch(images, garbage=1.0)
    padded_nodes, padded_mask = pad_batch(images, length=12)
    run_layer_test(
        MGCN,
        init_kwargs={"num_layers": 2, "affinity": "mean", "normalization": normalization},
        inputs={"nodes": nodes, "mask": mask},
        expected_output_shape=(3, 6, WIDTH),
        expected_num_weights=num_weights,
        padded_inputs={"nodes": padded_nodes, "mask": padded_mask},
        unpad=lambda outputs: outputs[:, :6],
    )


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("affinity", ["mean", "dot", "softmax"])
@pytest.mark.parametrize("num_layers, normalization", [(4, "l2"), (4, "layer"), (2, None)])
def test_equals_oracle(dtype, tolerance, affinity, num_layers, normalization):
    images = draw_images(dtype)
    nodes, mask = pad_batch(images)
    layer = MGCN(num_layers, affinity, normalization, dtype=dtype)
    layer(nodes, mask=mask)
    randomize(layer, scale=0.5)
    convolved = np.asarray(layer(nodes, mask=mask))
    weights = [weights_of(convolution) for convolution in layer.convolutions]
    for image, output in zip(images, convolved, strict=True):
        expected = mgcn(image, weights, affinity, normalizations_of(layer))
        assert_close(output[: len(image)], expected, tolerance)
        assert not np.any(output[len(image) :])
        assert_close(layer(image[None])[0], expected, tolerance)


def test_relations_of_every_layer():
    images = draw_images("float64")
    nodes, mask = pad_batch(images)
    layer = MGCN(3, dtype="float64")
    layer(nodes, mask=mask)
    randomize(layer, scale=0.5)
    weights = [weights_of(c) for c in layer.convolutions]
    for i, matrices in enumerate(layer.relations(nodes, mask)):
        for image, matrix in zip(images, matrices, strict=True):
            real = len(image)
            inputs = mgcn(image, weights[:i], "mean", [l2_normalize] * i)
            expected = affinity_matrix(inputs, weights[i], "mean")
            assert_close(np.asarray(matrix)[:real, :real], expected, 1e-10)
            assert not np.any(np.asarray(matrix)[:, real:])
