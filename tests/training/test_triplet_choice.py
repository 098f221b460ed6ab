"""Which negatives the triplet loss chooses, and its configuration."""

import numpy as np
import tensorflow as tf

from hslm_tf.training import HardestNegativeTripletLoss, NegativeCurriculum
from hslm_tf.training.retrieval_loss import admissible_negatives
from hslm_tf.training.triplet_loss import Negatives
from tests.oracles.triplet_loss import triplet_loss
from tests.training.helpers import curriculum_loss


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
        expected = triplet_loss(scores, image_index, 0.2, *map(np.array, candidates))
        np.testing.assert_array_equal(negatives.caption, expected.hardest_captions)
        np.testing.assert_array_equal(negatives.image, expected.hardest_images)


def test_random_negatives_need_no_scores():
    loss, admissible = curriculum_loss(), admissible_negatives(tf.constant([0, 0, 1, 2, 3]))
    negatives = loss.choose(None, admissible, tf.constant(0, tf.int64))
    captions, images = loss.candidates(admissible, tf.constant(0, tf.int64))
    np.testing.assert_array_equal(negatives.caption, np.argmax(captions, axis=1))
    np.testing.assert_array_equal(negatives.image, np.argmax(images, axis=1))


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


def test_without_curriculum_all_negatives_compete():
    loss = HardestNegativeTripletLoss()
    assert loss.candidate_fraction(tf.constant(0, tf.int64)) == 1
    admissible = admissible_negatives(tf.constant([7, 7, 8]))
    for drawn in loss.candidates(admissible, tf.constant(0, tf.int64)):
        np.testing.assert_array_equal(drawn, [[0, 0, 1], [0, 0, 1], [1, 1, 0]])
