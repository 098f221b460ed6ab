import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.training import (
    ContrastiveLoss,
    HardestNegativeTripletLoss,
    LossCurriculum,
    NegativeCurriculum,
)
from hslm_tf.training.callbacks import TrainedWeights
from hslm_tf.training.retrieval_loss import BatchLosses, RetrievalLoss
from tests.tiny_model import SIZES, WORDS, random_batch, randomize_model

FIRST_STEPS = 3


def curriculum() -> LossCurriculum:
    then = HardestNegativeTripletLoss(0.3, NegativeCurriculum(2, 4), seed=7)
    return LossCurriculum(ContrastiveLoss(5.0), then, FIRST_STEPS)


class StepReport(RetrievalLoss):
    """Teaches nothing and reports the step that it gets, and its own share of negatives."""

    def __init__(self, candidate_fraction=1.0):
        super().__init__()
        self.candidate_fraction = candidate_fraction

    def __call__(self, batch):
        zero = tf.zeros(())
        step = tf.cast(batch.step, tf.float32)
        return BatchLosses(zero, zero, zero, step, self.candidate_fraction)


def compiled(loss) -> HSLM:
    model = HSLM(ModelConfig(**SIZES, **ABLATION_PARTS[1], word_dropout=0.0), WORDS)
    randomize_model(model)
    optimizer = keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9, global_clipnorm=1.0)
    model.compile(optimizer, loss)
    return model


def test_every_step_has_the_loss_whose_turn_it_is():
    loss = curriculum()
    stages = [loss.at(step) for step in (0, 2, 3, 4, 5, 100)]
    assert [stage.first_step for stage in stages] == [0, 0, 3, 3, 3, 3]
    assert stages[0] == stages[1] == (loss.first, 0)
    random = stages[2].loss
    assert stages[3].loss is random and stages[4].loss is stages[5].loss is loss.then
    steps = tf.constant([0, 1, 2, 4, 6, 50], tf.int64)
    assert [float(random.candidate_fraction(step)) for step in steps] == [0] * 6
    shares = [float(loss.then.candidate_fraction(step)) for step in steps]
    assert shares[:2] == [0, 0] and 0 < shares[2] < shares[3] < 1 and shares[4:] == [1, 1]


def test_a_loss_counts_from_its_first_step():
    model = compiled(LossCurriculum(StepReport(), StepReport(), FIRST_STEPS))
    batches = tf.data.Dataset.from_tensors(random_batch(np.arange(4)))
    history = model.fit(batches.repeat(6), epochs=6, steps_per_epoch=1, verbose=0).history
    assert history["negative_score"] == [0, 1, 2, 0, 1, 2]


def test_an_epoch_has_the_loss_of_most_of_its_steps(monkeypatch):
    """Also where it begins a step early by the optimizer's count, as loss scaling may have it."""

    def train_step(self, data):
        self.optimizer.iterations.assign_add(1)
        return {"candidate_fraction": self._stage.loss.candidate_fraction}

    monkeypatch.setattr(HSLM, "train_step", train_step)
    batches = tf.data.Dataset.from_tensors(random_batch(np.arange(12))).repeat(2)
    for first_steps, expected in ((2, [1, 0, 0]), (3, [1, 0, 0]), (4, [1, 1, 0])):
        model = compiled(LossCurriculum(StepReport(), StepReport(0.0), first_steps))
        history = model.fit(batches, epochs=3, verbose=0).history
        assert history["candidate_fraction"] == expected, first_steps
        # Another `fit` goes on by the optimizer's count.
        assert model.fit(batches, epochs=2, verbose=0).history["candidate_fraction"] == [0, 0]


@pytest.mark.slow
def test_each_stage_has_one_graph(monkeypatch):
    """Whose weights and optimizer are those of each loss by itself, one after another."""
    traced, original = [], HSLM.train_step

    def train_step(self, data):
        traced.append(self._stage)
        return original(self, data)

    monkeypatch.setattr(HSLM, "train_step", train_step)
    batches = tf.data.Dataset.from_tensor_slices(random_batch(np.arange(42) % 7)).batch(6)
    batches = batches.take(1).concatenate(batches)  # Eight steps.
    loss = curriculum()
    model = compiled(loss)
    history = model.fit(batches, epochs=8, steps_per_epoch=1, verbose=0).history
    assert traced == [loss.at(0), loss.at(3), loss.at(5)]
    assert np.isfinite(history["loss"]).all() and history["candidate_fraction"][:3] == [1, 1, 1]
    assert history["candidate_fraction"][3] == 0 < history["candidate_fraction"][-1]

    # In as many calls of `fit`, with one loss each.
    twin = compiled(loss)
    stages = [loss.at(0), loss.at(3), loss.at(5)]
    for stage, first, last in zip(stages, (0, 3, 5), (3, 5, 8), strict=True):
        monkeypatch.setattr(loss, "at", lambda _, stage=stage: stage)
        part = batches.skip(first).take(last - first)
        twin.fit(
            part, epochs=last - first, steps_per_epoch=1, verbose=0, callbacks=[TrainedWeights()]
        )
    twin.optimizer.finalize_variable_values(twin.trainable_variables)
    for one, other in zip(
        [*model.weights, *model.optimizer.variables],
        [*twin.weights, *twin.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_called_as_a_loss_it_is_the_one_that_training_ends_with():
    class Echo(RetrievalLoss):
        def __call__(self, batch):
            return batch

    assert LossCurriculum(ContrastiveLoss(), Echo(), 3)("batch") == "batch"
