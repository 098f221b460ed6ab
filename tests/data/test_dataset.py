import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from tests.data.split_files import (
    IMAGES,
    REGIONS,
    WIDTH,
    anonymous_memory,
    captions_of,
    write_sparse_array,
    write_split,
)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_features_are_named_when_read(tmp_path, value):
    regions = np.zeros((IMAGES, REGIONS, WIDTH), np.float16)
    regions[4, 2, 1] = value
    write_split(tmp_path, full=False, ims=regions)
    dataset = load_dataset(tmp_path, "train")
    assert dataset.read_images(np.arange(4))[0].shape == (4, REGIONS, WIDTH)
    with pytest.raises(DataError, match=rf"train_ims.npy, row 4: .*region 2 hold {value} in col"):
        dataset.read_images(np.array([0, 4]))


def test_padding_is_neither_checked_nor_returned(tmp_path):
    regions = np.full((IMAGES, REGIONS, WIDTH), np.nan, np.float32)
    regions[:, :2] = 1
    write_split(tmp_path, ims=regions, num_regions=np.full(IMAGES, 2))
    values, mask = load_dataset(tmp_path, "train").read_images(np.arange(IMAGES))
    np.testing.assert_array_equal(values[0, :, 0], [1, 1, 0, 0])
    np.testing.assert_array_equal(mask[0], [True, True, False, False])


def test_subset(tmp_path):
    dataset = load_dataset(write_split(tmp_path), "train")
    part = dataset.subset(2, 4)
    assert part.captions == captions_of()[10:20]
    np.testing.assert_array_equal(part.caption_to_image, np.repeat([0, 1], 5))
    assert part.image_ids == ["photo_2.jpg", "photo_3.jpg"]
    for ours, whole in zip(
        part.read_images(np.array([0, 1])), dataset.read_images(np.array([2, 3])), strict=True
    ):
        np.testing.assert_array_equal(ours, whole)
    np.testing.assert_array_equal(part.subset(1, 2).num_regions, [3])
    for first, last in ((2, 2), (-1, 3), (0, IMAGES + 1)):
        with pytest.raises(ValueError, match=f"Received: first={first}, last={last}"):
            dataset.subset(first, last)


def test_anonymous_memory_does_not_grow_with_the_file(tmp_path):
    images = 1600
    size = write_sparse_array(tmp_path / "train_ims.npy", (images, 36, 2048))
    write_split(tmp_path / "text", full=False, caps=captions_of(images))
    (tmp_path / "text" / "train_caps.txt").rename(tmp_path / "train_caps.txt")
    before = anonymous_memory()
    dataset = load_dataset(tmp_path, "train")
    opened = anonymous_memory() - before
    order = np.random.default_rng(0).permutation(images)
    growth = []
    for first in range(0, images, 32):
        assert not dataset.read_images(order[first : first + 32])[0].any()
        growth.append(anonymous_memory() - before)
    assert size > 450e6
    assert opened < 16e6
    assert max(growth) < 64e6
