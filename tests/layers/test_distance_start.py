import keras
import numpy as np
import pytest

from hslm_tf.layers import SimilarityFusion, SimilarityRepresentation
from hslm_tf.layers.similarity import distance_bias, distance_kernel, falling_score

WIDTH = 64


def vectors_at_distances() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of unit vectors with squared distances from 0 to 4, in no order."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(1, 1, 60, WIDTH))
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    other = rng.normal(size=first.shape)
    other -= first * np.sum(first * other, axis=-1, keepdims=True)
    other /= np.linalg.norm(other, axis=-1, keepdims=True)
    cosine = rng.permutation(np.linspace(-1, 1, 60))[:, None]
    second = cosine * first + np.sqrt(1 - cosine**2) * other
    squared = np.sum((first - second) ** 2, axis=-1)[0, 0]
    return first.astype("float32"), second.astype("float32"), squared


def starting_scores(start: str, units: int = 32) -> tuple[np.ndarray, np.ndarray]:
    keras.utils.set_random_seed(3)
    text, image, squared = vectors_at_distances()
    similarity = SimilarityRepresentation(units, start)(text, image)
    return np.asarray(SimilarityFusion(start=start)({"global": similarity}))[0, 0], squared


def test_score_starts_as_a_falling_function_of_the_distance():
    scores, squared = starting_scores("distance")
    np.testing.assert_allclose(scores, (1 - squared) / np.sqrt(1 + squared**2), atol=0.03)


def test_a_random_start_does_not_see_the_distance():
    scores, squared = starting_scores("random")
    assert abs(np.corrcoef(scores, squared)[0, 1]) < 0.6


def test_an_odd_number_of_units_starts_as_well():
    scores, squared = starting_scores("distance", units=33)
    assert np.all(np.diff(scores[np.argsort(squared)]) < 0.01)


def test_halves():
    keras.utils.set_random_seed(1)
    kernel = np.asarray(distance_kernel((400, 6), "float32"))
    np.testing.assert_allclose(kernel.mean(axis=0), [1, 1, 1, 0, 0, 0], atol=0.03)
    np.testing.assert_allclose(kernel.std(axis=0), 0.1, atol=0.02)
    np.testing.assert_array_equal(distance_bias((6,), "float32"), [0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(
        np.asarray(falling_score((6, 1), "float32"))[:, 0],
        np.array([-1, -1, -1, 1, 1, 1]) / 3**0.5,
    )


@pytest.mark.parametrize("layer", [SimilarityRepresentation, SimilarityFusion])
def test_unknown_start(layer):
    with pytest.raises(ValueError, match=r"`start`.*Received: start=far$"):
        layer(start="far")
