import numpy as np
import pytest

from hslm_tf.images.regions import grid_boxes, roi_align
from tests.oracles.roi_align import roi_align as oracle


def boxes_of(rng, count: int) -> np.ndarray:
    corners = np.sort(rng.uniform(size=(count, 2, 2)), axis=1)
    return corners.reshape(count, 4)


@pytest.mark.parametrize("height, width", [(10, 10), (7, 13), (1, 1), (1, 5), (2, 3)])
def test_equals_the_oracle(height, width):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, height, width, 5))
    boxes = np.stack([boxes_of(rng, 6), boxes_of(rng, 6)])
    boxes[0, 0] = 0, 0, 1, 1
    boxes[0, 1] = 0.3, 0.4, 0.3, 0.4
    expected = [
        [oracle(m, box) for box in of_image] for m, of_image in zip(maps, boxes, strict=True)
    ]
    np.testing.assert_allclose(roi_align(maps, boxes), expected, atol=1e-12)
    single = roi_align(maps.astype(np.float32), boxes.astype(np.float32))
    np.testing.assert_allclose(single, expected, atol=1e-5)


def test_a_ramp_is_read_at_the_middle_of_a_region():
    ramp = np.broadcast_to(np.arange(20.0)[:, None, None] + 0.5, (20, 20, 1))[None]
    boxes = np.array([[[0.2, 0.3, 0.6, 0.7], [0.1, 0.1, 0.9, 0.5]]])
    np.testing.assert_allclose(roi_align(ramp, boxes)[0, :, 0], [10, 6], atol=1e-12)


def test_the_grid():
    boxes = grid_boxes()
    assert boxes.shape == (30, 4) and boxes.dtype == np.float32
    np.testing.assert_array_equal(boxes[0], [0, 0, 1, 1])
    np.testing.assert_array_equal(
        boxes[[1, 2, 4]], [[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]]
    )
    np.testing.assert_allclose(boxes[6], [1 / 3, 0, 2 / 3, 1 / 3], atol=1e-7)
    np.testing.assert_allclose(boxes[13], [2 / 3, 2 / 3, 1, 1], atol=1e-7)
    points = np.random.default_rng(0).uniform(size=(100, 1, 2))
    inside = (boxes[:, :2] <= points) & (points < boxes[:, 2:])
    np.testing.assert_array_equal(inside.all(axis=2).sum(axis=1), 4)
