"""What is watched block by block, against the whole matrix."""

import numpy as np
import pytest

from hslm_tf.evaluation.ranks import ranks
from hslm_tf.evaluation.watched_scores import WatchedScores

IMAGES = 9


def make(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are not alike, `[IMAGES, captions]`, and the image of each caption."""
    random = np.random.default_rng(seed)
    own = random.permutation(np.repeat(np.arange(IMAGES), random.integers(1, 5, IMAGES)))
    return random.normal(size=(IMAGES, len(own))).astype("float32"), own


@pytest.mark.parametrize("seed, block", [(0, 1), (1, 4), (2, 100)])
def test_blocks_in_any_order_give_what_the_matrix_holds(seed, block):
    scores, own = make(seed)
    watched = WatchedScores(own, IMAGES)
    order = np.random.default_rng(seed).permutation(len(own))
    for first in range(0, len(own), block):
        captions = order[first : first + block]
        given = scores[:, captions]
        given.flags.writeable = False
        watched.add(given, captions)

    right = own == np.arange(IMAGES)[:, None]
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
