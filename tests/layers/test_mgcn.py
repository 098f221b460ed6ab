import numpy as np
import pytest

from hslm_tf.layers import MGCN
from tests.layer_test import assert_close, pad_batch, randomize, run_layer_test
from tests.layers.test_graph_conv import WIDTH, draw_images, weights_of
from tests.oracles.graph_conv import affinity_matrix, mgcn
from tests.oracles.numerics import l2_normalize


@pytest.mark.parametrize("normalize", [True, False])
def test_layer(normalize):
    images = [image / 4 for image in draw_images()]
    nodes, mask = pad_batch(images, garbage=1.0)
    padded_nodes, padded_mask = pad_batch(images, length=12)
    run_layer_test(
        MGCN,
        init_kwargs={"num_layers": 2, "affinity": "mean", "normalize": normalize},
        inputs={"nodes": nodes, "mask": mask},
        expected_output_shape=(3, 6, WIDTH),
        expected_num_weights=16,
        padded_inputs={"nodes": padded_nodes, "mask": padded_mask},
        unpad=lambda outputs: outputs[:, :6],
    )


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("affinity", ["mean", "dot"])
@pytest.mark.parametrize("num_layers, normalize", [(4, True), (2, False)])
def test_equals_oracle(dtype, tolerance, affinity, num_layers, normalize):
    images = draw_images(dtype)
    nodes, mask = pad_batch(images)
    layer = MGCN(num_layers, affinity, normalize, dtype=dtype)
    layer(nodes, mask=mask)
    randomize(layer, scale=0.5)
    convolved = np.asarray(layer(nodes, mask=mask))
    weights = [weights_of(convolution) for convolution in layer.convolutions]
    norms = [l2_normalize] * num_layers if normalize else None
    for image, output in zip(images, convolved, strict=True):
        expected = mgcn(image, weights, affinity, norms)
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
