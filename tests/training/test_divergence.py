"""A training that cannot learn any more stops, and says where."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf import train
from hslm_tf.config import ModelConfig
from hslm_tf.data.pipeline import captions_of_step
from hslm_tf.models.hslm import HSLM
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.training import HardestNegativeTripletLoss
from hslm_tf.training.callbacks import StopOnDivergence
from hslm_tf.training.retrieval_loss import BatchLosses
from tests.tiny_model import SIZES, WORDS, random_batch
from tests.tiny_run import fails, rows_of


def model_with(optimizer: keras.Optimizer, dtype: str = "float32") -> HSLM:
    light = {"cross_attention": False, "local_alignment": False, "mgcn": False}
    model = HSLM(ModelConfig(**{**SIZES, **light}), WORDS, dtype=dtype)
    model.compile(optimizer, HardestNegativeTripletLoss(0.2))
    return model


def callback_at(epoch: int, model: HSLM, **arguments) -> StopOnDivergence:
    callback = StopOnDivergence(**arguments)
    callback.set_model(model)
    callback.on_epoch_begin(epoch)
    callback.on_train_batch_begin(0)
    return callback


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite(loss):
    callback = callback_at(
        2,
        model_with("sgd"),
        captions_of=lambda epoch, step: [epoch, step],
        checkpoint=lambda: "The last good checkpoint is last.keras",
    )
    callback.on_train_batch_end(6, {"loss": 0.4})
    with pytest.raises(FloatingPointError) as stop:
        callback.on_train_batch_end(7, {"loss": loss})
    assert str(stop.value).startswith(
        f"The loss is {loss} in epoch 3, step 8, whose training captions are the rows 2, 7 (from "
        "0). The last good checkpoint is last.keras; "
    )


def test_gradients_that_are_not_finite_stop_at_once_without_loss_scaling():
    callback = callback_at(0, model_with("sgd"))
    callback.on_train_batch_end(0, {"loss": 0.4, "skipped_steps": 0.0})
    with pytest.raises(FloatingPointError, match="gradients are not finite in epoch 1, step 2"):
        callback.on_train_batch_end(1, {"loss": 0.4, "skipped_steps": 1.0})


def test_overflow_under_loss_scaling_stops_only_if_it_does_not_end():
    callback = callback_at(0, model_with("sgd", "mixed_float16"), patience=3)
    skipped = 0
    for step, overflows in enumerate([1, 1, 1, 0, 1, 1, 1, 1]):
        skipped += overflows
        if step < 7:
            callback.on_train_batch_end(step, {"loss": 0.4, "skipped_steps": float(skipped)})
    with pytest.raises(
        FloatingPointError, match="overflow float16, 4 steps in a row, in epoch 1, step 8"
    ):
        callback.on_train_batch_end(7, {"loss": 0.4, "skipped_steps": float(skipped)})


def test_steps_of_a_resumed_epoch_are_counted_already():
    model = model_with("sgd")
    next(m for m in model.metrics if m.name == "skipped_steps").update_state(2.0)
    callback = callback_at(0, model)
    callback.on_train_batch_end(5, {"loss": 0.4, "skipped_steps": 2.0})
    with pytest.raises(FloatingPointError, match="gradients are not finite in epoch 1, step 7"):
        callback.on_train_batch_end(6, {"loss": 0.4, "skipped_steps": 3.0})


def test_a_step_whose_gradients_overflow_is_left_out_and_counted():
    model = model_with(keras.optimizers.SGD(1e-3), "mixed_float16")
    step, batch = tf.function(model.train_step), random_batch(np.arange(8))
    model.optimizer.build(model.trainable_variables)
    model.optimizer.dynamic_scale.assign(2.0**40)
    before = model.get_weights()
    results = step(batch)
    assert float(results["skipped_steps"]) == 1 and float(results["gradient_norm"]) == 0
    for weights, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)
    assert float(model.optimizer.dynamic_scale) == 2.0**39
    model.optimizer.dynamic_scale.assign(2.0**4)
    assert float(step(batch)["skipped_steps"]) == 1
    assert any(
        np.any(weights != kept) for weights, kept in zip(model.get_weights(), before, strict=True)
    )


def test_a_run_that_diverges_names_step_captions_and_checkpoint(run_flags, tmp_path, capsys):
    run = RunDirectory(tmp_path / "run")
    command = [*run_flags, "--out", run.path]
    train.main([*map(str, command), "--epochs", "1"])
    capsys.readouterr()
    weights = keras.saving.load_model(run.best_model).get_weights()

    def not_a_number(loss, positive, *_):
        nan = tf.reduce_sum(positive) * float("nan")
        return BatchLosses(nan, nan, nan, nan)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HardestNegativeTripletLoss, "of_scores", not_a_number)
        error = fails(["--resume", run.path, "--epochs", "2"], capsys)
    first = captions_of_step(60, 16, 7, epoch=1, step=0)
    assert "The loss is nan in epoch 2, step 1, whose training captions are the rows " in error
    assert f"rows {', '.join(map(str, first))} (from 0)" in error
    assert f"The last good checkpoint is {run.last_model}, after 1 complete epoch;" in error
    assert len(rows_of(run)) == 1 and run.progress["epochs"] == 1
    for kept, before in zip(
        keras.saving.load_model(run.best_model).get_weights(), weights, strict=True
    ):
        np.testing.assert_array_equal(kept, before)
