import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.models.inputs import check_captions, check_images

REGIONS = np.ones((3, 4, 5), "float32")
MASK = np.ones((3, 4), bool)
EXPECTED = keras.KerasTensor((None, None, 5), "float16")
ONE_EMPTY = MASK & (np.arange(3) != 1)[:, None]


@pytest.mark.parametrize(
    ("regions", "mask", "message"),
    [
        (
            np.full((3, 4, 5), "a"),
            None,
            "`region_features` must be numbers. Received: region_features.dtype=str",
        ),
        (
            REGIONS[0],
            None,
            r"one image, pass `region_features\[None\]`. Received: region_features.shape=\(4, 5\)",
        ),
        (REGIONS[..., :4], None, r"regions, 5\]. Received: region_features.shape=\(3, 4, 4\)"),
        (REGIONS, MASK[:, :3], r"\(3, 4\). Received: region_mask.shape=\(3, 3\)"),
        (REGIONS, MASK[0], r"\(3, 4\). Received: region_mask.shape=\(4,\)"),
        (REGIONS, ONE_EMPTY, "Received: none in image 1 of 3"),
        (REGIONS[:, :0], None, "Received: none in image 0 of 3"),
    ],
)
def test_images_that_no_model_could_score(regions, mask, message):
    with pytest.raises(ValueError, match=message):
        check_images(regions, mask, EXPECTED)


def test_images():
    found = check_images(REGIONS, None, EXPECTED)
    regions, mask = found["region_features"], found["region_mask"]
    assert (
        regions.dtype == tf.float16
        and mask.dtype == tf.bool
        and np.all(mask)
        and mask.shape == (3, 4)
    )
    np.testing.assert_array_equal(regions, REGIONS)
    assert not np.asarray(
        check_images(REGIONS, MASK & (np.arange(4) < 2), EXPECTED)["region_mask"]
    )[:, 2:].any()


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ("a dog", "is a list of strings. Received: captions='a dog'"),
        (b"a dog", "is a list of strings. Received: captions=b'a dog'"),
        ([], r"must not be empty. Received: captions=\[\]"),
        (["a", None], r"Received: captions\[1\]=None"),
        (["a", "b", float("nan")], r"Received: captions\[2\]=nan"),
    ],
)
def test_captions_that_are_none(captions, message):
    with pytest.raises(ValueError, match=message):
        check_captions(captions)


@pytest.mark.parametrize("kind", [list, tuple, np.array, tf.constant])
def test_captions(kind):
    found = check_captions(kind(["ein Hund", "zwölf Hunde"]))
    assert found.dtype == tf.string
    assert [text.decode() for text in found.numpy()] == ["ein Hund", "zwölf Hunde"]
