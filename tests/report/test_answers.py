import numpy as np
import pytest

from hslm_tf.report.answers import answers_of

# Captions 0 and 3 are of image 0, caption 1 of image 2, captions 2 and 4 of image 1.
OWNERS = np.array([0, 2, 1, 0, 1], np.int32)
SCORES = np.array(
    [
        [0.1, 0.9, 0.3, 0.5, 0.2],
        [0.8, 0.4, 0.6, 0.0, 0.7],
        [0.2, 0.4, 0.5, 0.1, 0.3],
    ],
    np.float32,
)


def test_images_looking_for_captions():
    found = answers_of(SCORES, OWNERS)["i2t"]
    np.testing.assert_array_equal(found.ranks, [1, 1, 1])
    np.testing.assert_array_equal(found.right, [3, 4, 1])
    np.testing.assert_allclose(found.right_scores, [0.5, 0.7, 0.4])
    np.testing.assert_array_equal(found.wrong, [1, 0, 2])
    np.testing.assert_allclose(found.wrong_scores, [0.9, 0.8, 0.5])
    assert found.num_items == 5


def test_captions_looking_for_images():
    found = answers_of(SCORES, OWNERS)["t2i"]
    # Ties count against the model.
    np.testing.assert_array_equal(found.ranks, [2, 2, 0, 0, 0])
    np.testing.assert_array_equal(found.right, OWNERS)
    np.testing.assert_allclose(found.right_scores, [0.1, 0.4, 0.6, 0.5, 0.7])
    np.testing.assert_array_equal(found.wrong, [1, 0, 2, 2, 2])
    np.testing.assert_allclose(found.wrong_scores, [0.8, 0.9, 0.5, 0.1, 0.3])
    assert found.num_items == 3


def test_scores_stay_as_they_are():
    scores = SCORES.copy()
    answers_of(scores, OWNERS)
    np.testing.assert_array_equal(scores, SCORES)


def test_a_single_image_has_no_wrong_answers():
    with pytest.raises(ValueError, match="need two images. Received: num_images=1"):
        answers_of(SCORES[:1], np.zeros(5, np.int32))
