import numpy as np

from tests.oracles.triplet_loss import triplet_loss

SCORES = np.array([[0.5, 0.4, 0.9], [0.45, 0.3, 0.1], [0.2, 0.3, 0.8]])


def test_by_hand():
    loss, captions, images, gradient = triplet_loss(SCORES, np.array([0, 1, 2]), margin=0.2)
    np.testing.assert_array_equal(captions, [2, 0, 1])
    np.testing.assert_array_equal(images, [1, 0, 0])
    # Images: 0.2 - 0.5 + 0.9, 0.2 - 0.3 + 0.45, inactive; captions: 0.15, 0.3, 0.3.
    np.testing.assert_allclose(loss, (0.6 + 0.35 + 0.15 + 0.3 + 0.3) / 3)
    np.testing.assert_allclose(3 * gradient, [[-2, 1, 2], [2, -2, 0], [0, 0, -1]])


def test_captions_of_the_same_image():
    index = np.array([4, 4, 9])
    loss, captions, images, _ = triplet_loss(SCORES, index, margin=0.2)
    np.testing.assert_array_equal(captions, [2, 2, 1])
    np.testing.assert_array_equal(images, [2, 2, 0])
    # Images: 0.6, 0, 0; captions: 0, 0.2, 0.3.
    np.testing.assert_allclose(loss, (0.6 + 0.2 + 0.3) / 3)


def test_ties_go_to_the_first_and_equal_scores_cost_twice_the_margin():
    loss, captions, images, _ = triplet_loss(np.zeros((3, 3)), np.arange(3), margin=0.2)
    np.testing.assert_array_equal([captions, images], [[1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(loss, 0.4)


def test_gradient_is_the_slope():
    rng = np.random.default_rng(0)
    scores, index = rng.normal(scale=0.2, size=(6, 6)), np.array([0, 1, 1, 2, 3, 3])
    slope, step = np.zeros((6, 6)), 1e-6
    for place in np.ndindex(6, 6):
        up, down = scores.copy(), scores.copy()
        up[place] += step
        down[place] -= step
        slope[place] = (triplet_loss(up, index).loss - triplet_loss(down, index).loss) / (2 * step)
    np.testing.assert_allclose(triplet_loss(scores, index).score_gradient, slope, atol=1e-7)
