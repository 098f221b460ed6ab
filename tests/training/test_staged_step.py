"""A graph for every stage learns as the one graph that `fit` decides in."""

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.training.contrastive_loss import ContrastiveLoss
from hslm_tf.training.curriculum import NegativeCurriculum
from hslm_tf.training.loss_curriculum import LossCurriculum
from hslm_tf.training.staged_step import staged_step
from hslm_tf.training.triplet_loss import HardestNegativeTripletLoss
from tests.tiny_model import SIZES, WORDS, random_batch, randomize_model

# Two contrastive steps, one with random negatives, then a growing share of them.
STEPS, STAGES = 5, 3


def compiled():
    # Stages are those of the loss, whatever the model.
    model = HSLM(ModelConfig(**SIZES, **ABLATION_PARTS[1], word_dropout=0.0), WORDS)
    randomize_model(model)
    triplet = HardestNegativeTripletLoss(curriculum=NegativeCurriculum(1, 2))
    model.compile(
        keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9, global_clipnorm=1.0),
        LossCurriculum(ContrastiveLoss(), triplet, 2),
    )
    return model


def test_as_fit_with_one_trace_a_stage(monkeypatch):
    batches = tf.data.Dataset.from_tensor_slices(random_batch(np.arange(6 * STEPS) % 7)).batch(6)
    fitted, staged = compiled(), compiled()
    fitted.fit(batches, verbose=0)
    traces, original = [], HSLM.train_step

    def traced(self, data, stage=None):
        traces.append(stage)
        return original(self, data, stage)

    monkeypatch.setattr(HSLM, "train_step", traced)
    step, iterator = staged_step(staged), iter(batches)
    for _ in range(STEPS):
        found = step(iterator)
    staged.optimizer.finalize_variable_values(staged.trainable_weights)
    assert len(traces) == len(set(traces)) == STAGES
    assert int(staged.optimizer.iterations) == STEPS
    pairs = zip(
        [*staged.weights, *staged.optimizer.variables],
        [*fitted.weights, *fitted.optimizer.variables],
        strict=True,
    )
    for one, other in pairs:
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)
    assert float(found["loss"]) > 0
