import numpy as np
import pytest

from hslm_tf.evaluation import streaming_ranks
from hslm_tf.evaluation.ranks import ranks
from hslm_tf.evaluation.streaming_ranks import StreamingRanks, WatchedScores


@pytest.fixture(autouse=True, params=["always compact", "compact at the end"])
def pending_limit(request, monkeypatch):
    if request.param == "always compact":
        monkeypatch.setattr(streaming_ranks, "_FEW_PENDING", 0)


def blocks_of(scores, order, size):
    for first in range(0, len(order), size):
        captions = order[first : first + size]
        yield scores[:, captions], captions


def assert_streams_exactly(scores, caption_to_image, order, size):
    streaming = StreamingRanks(caption_to_image, len(scores))
    for block in blocks_of(scores, order, size):
        streaming.add(*block)
    for found, expected in zip(streaming.ranks(), ranks(scores, caption_to_image), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.int64
    return streaming


def uneven(random, num_images=40):
    return random.permutation(np.repeat(np.arange(num_images), random.integers(1, 9, num_images)))


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_random_scores_in_shuffled_blocks(size, dtype):
    random = np.random.default_rng(size)
    caption_to_image = uneven(random)
    scores = random.normal(size=(40, len(caption_to_image))).astype(dtype)
    order = random.permutation(len(caption_to_image))
    assert_streams_exactly(scores, caption_to_image, order, size)


@pytest.mark.parametrize("size", [1, 5, 64])
@pytest.mark.parametrize("levels", [1, 2, 6])
def test_ties(size, levels):
    random = np.random.default_rng(levels)
    caption_to_image = uneven(random)
    scores = random.integers(0, levels, (40, len(caption_to_image))).astype(np.float32)
    scores[random.random(scores.shape) < 0.1] = -np.inf
    scores[random.random(scores.shape) < 0.05] = -0.0
    order = random.permutation(len(caption_to_image))
    assert_streams_exactly(scores, caption_to_image, order, size)


def test_every_images_best_caption_comes_last():
    """Nothing is decided until the end, then everything is."""
    own = np.tile(np.arange(30), 5)
    random = np.random.default_rng(0)
    scores = random.normal(size=(30, 150)).astype(np.float32)
    scores[own, np.arange(150)] = np.repeat(np.arange(5), 30) - 2
    assert_streams_exactly(scores, own, np.arange(150), 10)
    assert_streams_exactly(scores, own, np.arange(150)[::-1], 10)


def test_constant_scores_are_kept_as_counts():
    own = np.tile(np.arange(20), 5)
    streaming = StreamingRanks(own, 20)
    scores = np.zeros((20, 100), np.float32)
    for block in blocks_of(scores, np.arange(90), 10):
        streaming.add(*block)
    streaming.state()
    # One value for each block and image with a caption to come.
    assert streaming.num_pending == 9 * 10
    streaming.add(scores[:, 90:], np.arange(90, 100))
    assert streaming.ranks()[0].tolist() == [95] * 20
    assert streaming.num_pending == 0


def test_good_scores_leave_little_to_keep():
    random = np.random.default_rng(0)
    own = random.permutation(np.repeat(np.arange(200), 5))
    scores = random.normal(size=(200, 1000)).astype(np.float32)
    scores[own, np.arange(1000)] += 10
    streaming, most = StreamingRanks(own, 200), 0
    for block in blocks_of(scores, np.arange(1000), 20):
        streaming.add(*block)
        streaming.state()
        most = max(most, streaming.num_pending)
    assert 0 < most < scores.size / 12
    assert streaming.ranks()[0].tolist() == [0] * 200


@pytest.mark.parametrize("stop", [0, 1, 9, 17])
def test_restored_state_goes_on(stop, tmp_path):
    random = np.random.default_rng(stop)
    caption_to_image = uneven(random)
    scores = random.integers(0, 30, (40, len(caption_to_image))).astype(np.float32)
    blocks = list(blocks_of(scores, random.permutation(len(caption_to_image)), 10))
    before, after = (StreamingRanks(caption_to_image, 40) for _ in range(2))
    for block in blocks[:stop]:
        before.add(*block)
    np.savez(tmp_path / "state.npz", **before.state())
    for block in blocks[stop:]:
        before.add(*block)
    with np.load(tmp_path / "state.npz") as state:
        after.restore(state)
    assert after.num_captions == sum(len(captions) for _, captions in blocks[:stop])
    for block in blocks[stop:]:
        after.add(*block)
    for found, expected in zip(after.ranks(), ranks(scores, caption_to_image), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(before.ranks()[0], after.ranks()[0])


def test_nan_is_refused_by_image_and_caption():
    streaming = StreamingRanks(np.array([0, 1, 1]), 2)
    streaming.add(np.zeros((2, 1)), np.array([1]))
    with pytest.raises(ValueError, match="NaN for image 1 and caption 2"):
        streaming.add(np.array([[0.5, 0.1], [0.1, np.nan]]), np.array([0, 2]))


def test_mistakes_are_one_clear_error():
    streaming = StreamingRanks(np.array([0, 1, 1]), 2)
    with pytest.raises(ValueError, match="the first is image 1"):
        StreamingRanks(np.array([0, 2]), 3)
    with pytest.raises(ValueError, match=r"Received: scores.shape=\(2, 1\)"):
        streaming.add(np.zeros((2, 1)), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"twice. Received: captions=\[1 1\]"):
        streaming.add(np.zeros((2, 2)), np.array([1, 1]))
    streaming.add(np.zeros((2, 1)), np.array([1]))
    with pytest.raises(ValueError, match=r"twice. Received: captions=\[1\]"):
        streaming.add(np.zeros((2, 1)), np.array([1]))
    with pytest.raises(ValueError, match="no scores of 2 captions, the first is caption 0"):
        streaming.ranks()


def scores_and_images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are not alike, `[9, captions]`, and the image of each caption."""
    random = np.random.default_rng(seed)
    own = random.permutation(np.repeat(np.arange(9), random.integers(1, 5, 9)))
    return random.normal(size=(9, len(own))).astype("float32"), own


@pytest.mark.parametrize("seed, block", [(0, 1), (1, 4), (2, 100)])
def test_blocks_in_any_order_give_what_the_matrix_holds(seed, block):
    scores, own = scores_and_images(seed)
    watched = WatchedScores(own, 9)
    order = np.random.default_rng(seed).permutation(len(own))
    for first in range(0, len(own), block):
        captions = order[first : first + block]
        given = scores[:, captions]
        given.flags.writeable = False
        watched.add(given, captions)

    right = own == np.arange(9)[:, None]
    negatives = np.where(right, -np.inf, scores)
    best = np.where(right, scores, -np.inf).max(axis=1)
    np.testing.assert_array_equal(watched.positives, scores[own, np.arange(len(own))])
    expected = {
        "positive": watched.positives,
        "hardest_negative_i2t": negatives.max(axis=1),
        "hardest_negative_t2i": negatives.max(axis=0),
        "margin_i2t": best - negatives.max(axis=1),
        "margin_t2i": watched.positives - negatives.max(axis=0),
    }
    found = watched.distributions()
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    i2t, t2i = ranks(scores, own)
    np.testing.assert_array_equal(found["margin_i2t"] > 0, i2t == 0)
    np.testing.assert_array_equal(found["margin_t2i"] > 0, t2i == 0)
