"""Splits without captions, which a search accepts and training does not."""

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError
from hslm_tf.data.convert import convert
from hslm_tf.data.loading import load_dataset
from tests.data.split_files import write_split


@pytest.mark.parametrize("layout", ["auto", "per_caption"])
@pytest.mark.parametrize("target", ["", "a.h5"])
def test_images_alone_open_where_captions_are_optional(tmp_path, target, layout):
    """In every format: what is converted here has captions, and then loses them."""
    folder = write_split(tmp_path / "data")
    source, expected = folder, load_dataset(folder, "train")
    if target:
        source = tmp_path / target
        convert(folder, source)
        with h5py.File(source, "a") as file:
            del file["train/caps"]
    else:
        (source / "train_caps.txt").unlink()
    with pytest.raises(DataError, match="lacks (train_)?caps"):
        load_dataset(source, "train")
    alone = load_dataset(source, "train", layout, captions_optional=True)
    assert alone.captions == [] and len(alone.caption_to_image) == 0
    assert alone.image_ids == expected.image_ids
    images = np.arange(alone.num_images)
    for found, wanted in zip(alone.read_images(images), expected.read_images(images), strict=True):
        np.testing.assert_array_equal(found, wanted)
