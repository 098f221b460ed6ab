import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.training import (
    ContrastiveLoss,
    HardestNegativeTripletLoss,
    LossCurriculum,
    NegativeCurriculum,
)
from tests.layer_test import assert_close
from tests.tiny_model import SIZES, WORDS, random_batch, randomize_model

FIRST_STEPS = 3


def curriculum() -> LossCurriculum:
    then = HardestNegativeTripletLoss(0.3, NegativeCurriculum(2, 4), seed=7)
    return LossCurriculum(ContrastiveLoss(5.0), then, FIRST_STEPS)


@pytest.fixture(scope="module")
def steps() -> dict:
    """Losses and gradients by step: of the curriculum, of its first loss, and of the other."""
    config = ModelConfig(**SIZES, mgcn=False, self_attention=False)
    model = HSLM(config, WORDS, dtype="float64")
    randomize_model(model)
    batch = random_batch(np.arange(12) // 2)
    whole, found = curriculum(), {}
    for name, loss in (("whole", whole), ("first", whole.first), ("then", whole.then)):
        model.compile(keras.optimizers.SGD(1.0), loss)

        def gradients(step):
            with tf.GradientTape() as tape:
                losses = model._batch_losses(batch, step, training=False)
            gradients = tape.gradient(losses.loss, model.trainable_variables)
            return losses, [tf.convert_to_tensor(gradient) for gradient in gradients]

        found[name] = tf.function(gradients).get_concrete_function(tf.TensorSpec([], tf.int64))
    return found


@pytest.mark.parametrize("step", [0, 2, 3, 4, 100])
def test_step_is_that_of_the_loss_whose_turn_it_is(step, steps):
    losses, gradients = steps["whole"](tf.constant(step, tf.int64))
    turn, since = ("first", step) if step < FIRST_STEPS else ("then", step - FIRST_STEPS)
    expected, expected_gradients = steps[turn](tf.constant(since, tf.int64))
    assert_close(losses.loss, expected.loss, 1e-10)
    np.testing.assert_array_equal(losses.active_hinges, expected.active_hinges)
    for a, b in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)


def test_share_follows_the_triplet_loss_after_the_first_steps():
    loss = curriculum()
    shares = [
        float(loss.candidate_fraction(tf.constant(step, tf.int64))) for step in (0, 2, 3, 4, 9, 50)
    ]
    assert shares == [1, 1, 0, 0, 1, 1]
    assert 0 < float(loss.candidate_fraction(tf.constant(6, tf.int64))) < 1


def test_fit_passes_from_one_loss_to_the_other():
    model = HSLM(ModelConfig(**SIZES, mgcn=False, self_attention=False), WORDS)
    model.compile(keras.optimizers.Adam(1e-3), curriculum())
    batches = tf.data.Dataset.from_tensors(random_batch(np.arange(12)))
    history = model.fit(batches.repeat(4), epochs=3, steps_per_epoch=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["candidate_fraction"] == [1, 1, 1]
    history = model.fit(batches.repeat(2), epochs=2, steps_per_epoch=1, verbose=0).history
    assert history["candidate_fraction"] == [0, 0]


def test_config():
    loss = curriculum()
    revived = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(revived) is LossCurriculum
    assert revived.get_config() == loss.get_config()
    assert (type(revived.first), type(revived.then)) == (type(loss.first), type(loss.then))
    assert revived.first_steps == FIRST_STEPS


def test_first_steps_must_not_be_negative():
    with pytest.raises(ValueError, match="`first_steps`.*Received: first_steps=-1$"):
        LossCurriculum(ContrastiveLoss(), HardestNegativeTripletLoss(), -1)
