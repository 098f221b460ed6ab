"""Chosen pairs scored in groups have the scores and gradients of all of them at once."""

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.training.chosen_pairs import rows_of, score_pairs_in_groups
from tests.layer_test import assert_close
from tests.tiny_model import SIZES, WORDS, random_batch, randomize_model


@pytest.mark.parametrize("image_global", ["attended", "regions"])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
def test_groups_equal_all_at_once(dtype, tolerance, image_global):
    model = HSLM(ModelConfig(**SIZES, image_global=image_global), WORDS, dtype=dtype)
    randomize_model(model)
    batch = random_batch(range(5))
    regions = tf.cast(batch["region_features"], dtype)
    random = np.random.default_rng(0)
    # Pairs with slope 0 on the way, and an image and a caption that no pair has.
    image_rows, text_rows = tf.constant(random.integers(0, 4, (2, 11)), tf.int32)
    slopes = tf.constant(random.normal(size=11) * (np.arange(11) % 4 > 0), dtype)

    def in_groups(images, texts):
        variables = model.matcher.trainable_variables
        return score_pairs_in_groups(
            model.score_pairs, images, texts, image_rows, text_rows, variables, group_size=3
        )

    def at_once(images, texts):
        return model.score_pairs(rows_of(images, image_rows), rows_of(texts, text_rows))

    @tf.function
    def scores_and_gradients(score):
        with tf.GradientTape() as tape:
            images = model.image_encoder(
                {"region_features": regions, "region_mask": batch["region_mask"]}
            )
            scores = score(images, model.text_encoder({"token_ids": batch["token_ids"]}))
            loss = tf.reduce_sum(scores * slopes)
        found = tape.gradient(loss, model.trainable_variables)
        return scores, [tf.convert_to_tensor(gradient) for gradient in found]

    expected, expected_gradients = scores_and_gradients(at_once)
    scores, gradients = scores_and_gradients(in_groups)
    assert_close(scores, expected, tolerance)
    largest = max(np.max(np.abs(gradient)) for gradient in expected_gradients)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=0, atol=tolerance * largest)


def test_a_score_that_is_no_number_is_seen_by_the_gradient():
    """A hinge on it may have slope 0, which must not hide it from loss scaling."""
    images = {"regions": tf.constant([[[np.nan]], [[1.0]]])}
    texts = {"words": tf.ones([2, 1, 1]), "word_mask": tf.ones([2, 1], tf.bool)}
    rows = tf.range(2)

    def score_pairs(images, texts):
        return tf.square(images["regions"][:, 0, 0] * texts["words"][:, 0, 0])

    with tf.GradientTape() as tape:
        tape.watch(images["regions"])
        scores = score_pairs_in_groups(score_pairs, images, texts, rows, rows, ())
        loss = tf.reduce_sum(scores[1:])
    gradient = tape.gradient(loss, images["regions"])
    np.testing.assert_array_equal(np.ravel(gradient), [np.nan, 2.0])
