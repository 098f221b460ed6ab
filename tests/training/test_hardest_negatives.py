"""Which negatives the triplet loss chooses."""

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.training import HardestNegativeTripletLoss, NegativeCurriculum
from hslm_tf.training.retrieval_loss import admissible_negatives
from hslm_tf.training.triplet_loss import Negatives, draw_candidates, hardest
from tests.oracles import triplet_loss as oracle
from tests.training.helpers import curriculum_loss

IMAGE_INDEX = np.random.default_rng(0).integers(0, 20, 50).astype("int32")


def drawn(admissible: np.ndarray, candidate_fraction: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(size=admissible.shape).astype("float32")
    candidates = draw_candidates(
        tf.constant(admissible), tf.constant(candidate_fraction), tf.constant(noise)
    )
    return candidates.numpy()


def test_admissible_equals_the_oracle():
    admissible = admissible_negatives(tf.constant(IMAGE_INDEX)).numpy()
    np.testing.assert_array_equal(admissible, oracle.admissible_negatives(IMAGE_INDEX))
    np.testing.assert_array_equal(admissible, admissible.T)


@pytest.mark.parametrize("batch", [2, 5, 51, 101, 128])
@pytest.mark.parametrize(
    "candidate_fraction, of_51",
    [
        (0.0, 1),
        (1e-6, 1),
        (0.02, 1),
        (0.021, 2),
        (0.04, 2),
        (0.1, 5),
        (0.5, 25),
        (0.98, 49),
        (1, 50),
    ],
)
def test_as_many_as_the_share_says(candidate_fraction, of_51, batch):
    counts = drawn(~np.eye(batch, dtype=bool), float(candidate_fraction)).sum(axis=1)
    # Decimal arithmetic: 0.02 x 50 is 1 and not a little more.
    thousands = round(candidate_fraction * 1e6) * (batch - 1)
    expected = max(1, -(-thousands // 10**6)) if batch != 51 else of_51
    assert set(counts) == {expected}


@pytest.mark.parametrize("candidate_fraction", [0.0, 0.02, 0.3, 1.0])
def test_only_admissible_and_no_more_than_there_are(candidate_fraction):
    # Row k has k admissible candidates, so the first row has none.
    admissible = np.tri(40, k=-1, dtype=bool)
    candidates = drawn(admissible, candidate_fraction)
    assert not np.any(candidates & ~admissible)
    k = max(1, int(np.ceil(candidate_fraction * 39 - 1e-4)))
    np.testing.assert_array_equal(candidates.sum(axis=1), np.minimum(np.arange(40), k))


def test_all_candidates_are_drawn_equally_often():
    rows, columns, k = 4000, 21, 5
    admissible = np.ones((rows, columns), dtype=bool)
    admissible[:, 7] = False
    counts = drawn(admissible, 0.25).sum(axis=0)
    assert counts[7] == 0 and counts.sum() == rows * k
    expected = rows * k / (columns - 1)
    # Six standard deviations of a binomial count.
    assert np.max(np.abs(np.delete(counts, 7) - expected)) < 6 * expected**0.5


def test_draws_differ_between_rows():
    candidates = drawn(~np.eye(60, dtype=bool), 0.1)
    assert len(np.unique(candidates, axis=0)) == 60


def test_hardest_by_hand():
    scores = tf.constant([[0.1, 0.9, 0.5], [-3.0, -2.0, -1.0], [0.2, 0.2, 0.2], [5.0, 4.0, 4.0]])
    candidates = [[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 1, 1]]
    result = hardest(scores, tf.constant(candidates) == 1)
    assert result.dtype == tf.int32
    # The third has no candidate; the fourth ties.
    np.testing.assert_array_equal(result, [2, 1, 0, 1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hardest_equals_the_oracle_with_ties(dtype):
    rng = np.random.default_rng(1)
    scores = rng.integers(-2, 3, (200, 12)).astype(dtype)
    candidates = rng.uniform(size=scores.shape) < 0.2
    expected = [oracle.hardest(*row) for row in zip(scores, candidates, strict=True)]
    result = hardest(tf.constant(scores), tf.constant(candidates))
    assert -1 in expected
    np.testing.assert_array_equal(result, np.maximum(expected, 0))


def test_images_with_the_same_caption_are_no_negatives():
    index = tf.constant([0, 0, 1, 2])
    token_ids = tf.constant([[5, 6, 0], [7, 8, 0], [7, 8, 0], [7, 8, 9]])
    admissible = admissible_negatives(index, token_ids)
    # Caption 2 is one of image 0's, too, so that it describes it, and caption 0 the same image;
    # caption 3 is longer.
    expected = [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 0]]
    np.testing.assert_array_equal(admissible, np.array(expected, bool))


def test_query_without_negative_contributes_nothing_and_counts():
    loss = HardestNegativeTripletLoss(margin=0.5)
    no, yes = tf.constant([False, False, True, True]), tf.constant([True, False, False, True])
    index = tf.zeros(4, tf.int32)
    positive = tf.constant([1.0, 1.0, 1.0, 0.0])
    losses = loss.of_scores(
        positive,
        tf.constant([9.0, 9.0, 0.75, -0.75]),
        tf.constant([1.0, 9.0, 9.0, 0.25]),
        Negatives(index, no, index, yes),
    )
    # Images: none, none, 0.25, inactive; captions: 0.5, none, none, 0.75.
    assert losses.loss == (0.25 + 0.5 + 0.75) / 4
    assert losses.active_hinges == 3 / 4
    assert losses.positive_score == 0.75
    assert losses.negative_score == (0.75 - 0.75 + 1.0 + 0.25) / 4


def test_choose_equals_the_oracle():
    rng = np.random.default_rng(5)
    # Few different values, hence many ties.
    scores = rng.integers(0, 4, (32, 32)) / 8
    image_index = rng.integers(0, 12, 32)
    loss, admissible = curriculum_loss(), admissible_negatives(tf.constant(image_index))
    for step in (150, 180, 300):
        step = tf.constant(step, tf.int64)
        candidates = loss.candidates(admissible, step)
        negatives = loss.choose(tf.constant(scores, tf.float32), admissible, step)
        assert np.all(negatives.has_caption) and np.all(negatives.has_image)
        expected = oracle.triplet_loss(scores, image_index, 0.2, *map(np.array, candidates))
        np.testing.assert_array_equal(negatives.caption, expected.hardest_captions)
        np.testing.assert_array_equal(negatives.image, expected.hardest_images)


def test_candidates_depend_on_seed_and_step_alone():
    admissible = admissible_negatives(tf.range(40))

    def drawn(seed: int, step: int) -> np.ndarray:
        loss = HardestNegativeTripletLoss(curriculum=NegativeCurriculum(9, 9), seed=seed)
        return np.stack(loss.candidates(admissible, tf.constant(step, tf.int64)))

    np.testing.assert_array_equal(drawn(0, 4), drawn(0, 4))
    for other in (drawn(0, 5), drawn(1, 4)):
        assert np.any(other != drawn(0, 4))
    # Images and captions look for their negatives separately.
    captions, images = drawn(0, 4)
    assert np.any(captions != images) and np.any(captions != images.T)
    assert drawn(0, 18).sum() == drawn(0, 10**9).sum() == 2 * 40 * 39
