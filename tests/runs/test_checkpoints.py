"""Which epochs are kept, and when a run that no longer improves ends."""

import keras
import numpy as np
import pytest

from hslm_tf import train
from hslm_tf.runs.checkpoints import RunCheckpoint, save_whole
from hslm_tf.runs.run_directory import RunDirectory


def started(run, patience=None, **optimizer) -> RunCheckpoint:
    """A callback with a model of one weight, as training begins."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    model.compile(keras.optimizers.SGD(1.0, **optimizer), "mse")
    model.optimizer.build(model.trainable_variables)
    callback = RunCheckpoint(run, patience)
    callback.set_model(model)
    callback.on_train_begin()
    model.stop_training = False
    return callback


def weight_of(file) -> float:
    return keras.saving.load_model(file).get_weights()[0].item()


def test_checkpoint_keeps_the_best_epoch(tmp_path):
    run = RunDirectory(tmp_path)
    callback = started(run)
    for epoch, rsum in enumerate([10.0, 30.0, 20.0, 30.0]):
        callback.model.set_weights([np.full((1, 1), float(epoch))])
        callback.on_epoch_end(epoch, {"val_rsum": rsum})
    best = {"measured_epoch": 4, "best_epoch": 2, "best_rsum": 30.0}
    assert run.progress == {"epochs": 4, "steps": 0, **best}
    kept = (run.best_model, run.last_model, run.previous_model)
    assert [weight_of(file) for file in kept] == [1, 3, 2]
    assert not list(tmp_path.glob(".draft-*"))


def test_checkpoint_of_the_best_epoch_has_the_average(tmp_path):
    run = RunDirectory(tmp_path)
    callback = started(run, use_ema=True, ema_momentum=0.5)
    model = callback.model
    model.set_weights([np.full((1, 1), 4.0)])
    for epoch in range(3):
        model.optimizer.apply([np.ones((1, 1), "float32")], model.trainable_variables)
        callback.on_epoch_end(epoch, {"val_rsum": float(epoch)})
    # 3, then halfway to 2, then halfway to 1.
    assert (weight_of(run.best_model), weight_of(run.last_model)) == (1.75, 1)
    assert model.get_weights()[0] == 1.0


@pytest.mark.parametrize("patience, stops", [(1, 4), (2, 4), (3, 6), (None, 0)])
def test_patience_waits_for_an_epoch_that_is_measured(patience, stops, tmp_path):
    run = RunDirectory(tmp_path)
    callback = started(run, patience)
    for epoch, rsum in enumerate([np.nan, 30.0, np.nan, 20.0, np.nan, 10.0]):
        callback.on_epoch_end(epoch, {"val_rsum": rsum})
        stopped = callback.model.stop_training
        assert stopped == (epoch + 1 == stops) == callback.state.out_of_patience(patience)
        if stopped:
            break
    assert run.progress["epochs"] == (stops or 6)


def test_patience_ends_a_run_that_no_longer_improves(run_flags, tmp_path):
    """At a learning rate of nearly nothing the first epoch stays the best."""
    run = RunDirectory(tmp_path / "run")
    flags = ["--patience", "2", "--learning-rate", "1e-12", "--epochs", "9"]
    train.main([*run_flags, *flags, "--out", str(run.path)])
    assert run.progress["best_epoch"] == 1
    assert run.progress["epochs"] == 3
    # Going on with it stays at that.
    train.main(["--resume", str(run.path)])
    assert run.progress["epochs"] == 3


def test_saving_makes_no_optimizer(tmp_path, monkeypatch):
    """TensorFlow would keep some of each, and a long training would grow."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(keras.optimizers.Adam(), "mse")
    save_whole(model, tmp_path / "model.keras")
    made = []
    monkeypatch.setattr(keras.optimizers.Optimizer, "__init__", lambda *args: made.append(args))
    save_whole(model, tmp_path / "model.keras")
    assert made == []
