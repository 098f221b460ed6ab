import numpy as np
import pytest

from hslm_tf.layers import RegionDropping, WordDropping
from tests.layer_test import run_layer_test

MASK = np.arange(5) < np.array([[5], [2], [1]])


@pytest.mark.parametrize(
    ("layer_class", "inputs", "dtype"),
    [
        (RegionDropping, {"region_mask": MASK}, "bool"),
        (WordDropping, {"token_ids": np.where(MASK, 7, 0).astype("int32")}, "int32"),
    ],
)
def test_layer(layer_class, inputs, dtype):
    run_layer_test(
        layer_class,
        init_kwargs={"rate": 0.2, "seed": 3},
        inputs=inputs,
        expected_output_shape=(3, 5),
        expected_num_weights=0,
        output_dtype=dtype,
    )


def test_region_dropping():
    mask = np.arange(36) < np.full((200, 1), 30)
    layer = RegionDropping(0.2, seed=0)
    np.testing.assert_array_equal(layer(mask), mask)
    kept = np.asarray(layer(mask, training=True))
    assert np.all(kept[:, 0]) and not np.any(kept & ~mask)
    # 5,800 draws: the share is within four standard deviations of 0.8.
    assert abs(np.mean(kept[:, 1:30]) - 0.8) < 0.022
    assert np.any(kept != np.asarray(layer(mask, training=True)))


def test_word_dropping():
    lengths = np.random.default_rng(0).integers(1, 20, size=(300, 1))
    token_ids = np.where(np.arange(20) < lengths, np.arange(1, 21), 0).astype("int32")
    layer = WordDropping(0.2, seed=0)
    np.testing.assert_array_equal(layer(token_ids), token_ids)
    kept = np.asarray(layer(token_ids, training=True))
    assert kept.dtype == "int32" and kept.shape == token_ids.shape
    for row, before in zip(kept, token_ids, strict=True):
        words = row[row != 0]
        assert words[0] == 1
        # A subsequence in the old order, moved together to the left.
        assert np.all(np.diff(words) > 0) and np.all(np.isin(words, before))
        assert not np.any(row[len(words) :])
    dropped = 1 - (np.count_nonzero(kept) - 300) / (np.count_nonzero(token_ids) - 300)
    assert abs(dropped - 0.2) < 0.035
    assert np.any(kept != np.asarray(layer(token_ids, training=True)))
