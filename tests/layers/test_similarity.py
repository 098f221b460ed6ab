import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.layers import SimilarityRepresentation
from tests.layer_test import affine, assert_close, randomize, run_layer_test
from tests.oracles.similarity import similarity_representation

WIDTH, UNITS = 8, 6


def draw_vectors(dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """One vector per word, and one attended vector per word and image."""
    rng = np.random.default_rng(9)
    text, image = rng.normal(size=(2, 1, 4, WIDTH)), rng.normal(size=(2, 3, 4, WIDTH))
    return text.astype(dtype), image.astype(dtype)


def test_layer():
    text, image = draw_vectors()
    run_layer_test(
        SimilarityRepresentation,
        init_kwargs={"units": UNITS},
        inputs={"text": text, "image": image},
        expected_output_shape=(2, 3, 4, UNITS),
        expected_num_weights=2,
        output_in_float32=True,
    )


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
def test_equals_oracle(dtype, tolerance):
    text, image = draw_vectors(dtype)
    layer = SimilarityRepresentation(UNITS, dtype=dtype)
    layer(text, image)
    randomize(layer)
    similarity = layer(text, image)
    assert similarity.dtype == dtype
    for place in np.ndindex(image.shape[:-1]):
        m1, m2 = text[place[0], 0, place[2]], image[place]
        expected = similarity_representation(m1, m2, affine(layer.projection))
        assert_close(similarity[place], expected, tolerance)
        assert_close(np.linalg.norm(similarity[place]), 1.0, tolerance)


@pytest.mark.parametrize("shapes", [((2, 1, 4), (2, 3, 4)), ((2, 1, 4), (2, 3, 1)), ((5,), (5,))])
def test_gradient_equals_that_of_the_formula(shapes):
    rng = np.random.default_rng(2)
    text, image = (tf.constant(rng.normal(size=(*shape, WIDTH))) for shape in shapes)
    layer = SimilarityRepresentation(UNITS, dtype="float64")
    layer(text, image)
    randomize(layer)
    slopes = rng.normal(size=layer(text, image).shape)
    variables = [text, image, *(weight.value for weight in layer.trainable_weights)]

    def formula() -> tf.Tensor:
        kernel, bias = variables[2:]
        return tf.math.l2_normalize((text - image) ** 2 @ kernel + bias, axis=-1)

    gradients = []
    for compute in (lambda: layer(text, image), formula):
        with tf.GradientTape() as tape:
            tape.watch(variables[:2])
            loss = tf.reduce_sum(compute() * slopes)
        gradients.append(tape.gradient(loss, variables))
    for found, expected in zip(*gradients, strict=True):
        assert_close(found, expected, 1e-10)
