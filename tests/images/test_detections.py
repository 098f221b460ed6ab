import numpy as np
import pytest

from hslm_tf.images.detections import cleaned, fitted


def test_detections_are_cleaned():
    boxes = [
        [0.1, 0.1, 0.5, 0.5],
        [-0.5, 0.5, 0.5, 1.5],
        [np.nan, 0, 1, 1],
        [0.5, 0, 0.5, 1],
        [0, 0, 1, 1],
        [1.2, 0, 1.4, 1],
        [0, 0, 0.5, 1],
    ]
    found = cleaned(np.array(boxes), np.array([0.3, 0.9, 0.8, 0.7, np.inf, 0.6, 0.3]))
    np.testing.assert_allclose(
        found.boxes, np.array([[0, 0.5, 0.5, 1], boxes[0], boxes[6]], np.float32)
    )
    np.testing.assert_allclose(found.scores, [0.9, 0.3, 0.3])
    assert cleaned(np.zeros((0, 4)), np.zeros(0)).boxes.shape == (0, 4)


@pytest.mark.parametrize("keep", [True, False])
def test_photographs_are_fitted(keep):
    picture = np.zeros((60, 120, 3), np.uint8)
    picture[30:, 60:] = 255
    pixels, scale = fitted(picture, 64, 96, keep)
    assert pixels.shape == (64, 96, 3)
    np.testing.assert_array_equal(scale, [96, 48, 96, 48] if keep else [96, 64, 96, 64])
    assert (pixels[48:] == 114).all() == keep
    assert pixels[40, 90, 0] == 255 and pixels[5, 5, 0] == 0
