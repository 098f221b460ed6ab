import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.layers.packed_words import (
    num_captions,
    pack_words,
    softmax_by_caption,
    spread_to_words,
    sum_by_caption,
)
from tests.layer_test import assert_close, pad_batch
from tests.oracles.numerics import softmax
from tests.packed_example import CAPTION_LENGTHS, packed_example

INDEX = packed_example(1).segment_ids


def words_by_caption() -> list[tuple[int, int, np.ndarray]]:
    """Block, caption and where the caption's words are."""
    return [
        (block, caption, INDEX[block] == caption)
        for block, lengths in enumerate(CAPTION_LENGTHS)
        for caption in range(len(lengths))
    ]


def test_num_captions():
    assert num_captions(INDEX) == 3
    assert num_captions(INDEX[1:]) == 2


@pytest.mark.parametrize("length", [4, 8])
def test_pack_words(length):
    captions = packed_example(5).captions[0]
    words, index = pack_words(*pad_batch(captions, length))
    np.testing.assert_array_equal(words[0], np.concatenate(captions))
    np.testing.assert_array_equal(index, [[0, 0, 0, 1, 2, 2, 2, 2]])
    assert index.dtype == "int32"


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-12)])
def test_sum_by_caption(dtype, tolerance):
    x = np.random.default_rng(0).normal(size=(2, 4, 10, 5)).astype(dtype)
    sums = sum_by_caption(x, INDEX)
    assert sums.shape == (2, 4, 3, 5) and sums.dtype == dtype
    for block, caption, where in words_by_caption():
        assert_close(sums[block, :, caption], x[block][:, where].sum(axis=1), tolerance)
    assert not np.any(sums[1, :, 2])


def test_spread_to_words():
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 5))
    spread = np.asarray(spread_to_words(x, INDEX))
    assert spread.shape == (2, 4, 10, 5)
    for block, caption, where in words_by_caption():
        for word in np.flatnonzero(where):
            np.testing.assert_array_equal(spread[block, :, word], x[block, :, caption])


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_softmax_by_caption(dtype, tolerance, scale):
    logits = (scale * np.random.default_rng(0).normal(size=(2, 4, 10))).astype(dtype)
    # A huge logit of padding neither overflows nor counts.
    logits[:, :, INDEX[1] < 0] *= 1000
    weights = np.asarray(softmax_by_caption(logits, INDEX))
    assert weights.dtype == dtype
    for block, _, where in words_by_caption():
        for image in range(4):
            expected = softmax(np.float64(logits[block, image, where]))
            assert_close(weights[block, image, where], expected, tolerance)
    assert not np.any(weights[:, :, INDEX[0] < 0][0]) and not np.any(weights[1][:, INDEX[1] < 0])


def test_gradients_equal_those_of_each_caption_alone():
    rng = np.random.default_rng(0)
    logits, x = tf.constant(rng.normal(size=(2, 4, 10))), rng.normal(size=(2, 4, 10, 5))
    probe = rng.normal(size=(2, 4, 3, 5))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        pooled = sum_by_caption(softmax_by_caption(logits, INDEX)[..., None] * x, INDEX)
        loss = tf.reduce_sum(pooled * probe)
    gradient = np.asarray(tape.gradient(loss, logits))
    for block, caption, where in words_by_caption():
        for image in range(4):
            p = softmax(np.asarray(logits)[block, image, where])
            values = x[block, image, where] @ probe[block, image, caption]
            expected = p * (values - p @ values)
            np.testing.assert_allclose(gradient[block, image, where], expected, atol=1e-12)
    assert not np.any(gradient[1][:, INDEX[1] < 0])


def test_captions_out_of_order_are_refused():
    x, index = np.ones((1, 2, 4, 3), "float32"), np.array([[0, 1, 0, 1]], "int32")
    with pytest.raises(tf.errors.InvalidArgumentError, match="not increasing"):
        sum_by_caption(x, index)
