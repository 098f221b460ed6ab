"""Runs that begin with a contrastive loss, average their weights and stop early."""

import csv

import keras
import numpy as np
import pytest

from hslm_tf import train
from hslm_tf.evaluation.exact_recall import evaluate as evaluate_model
from hslm_tf.runs import splits
from hslm_tf.runs.checkpoints import RunCheckpoint
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.training.callbacks import Throughput, averaged_weights
from tests.tiny_run import STEPS, assert_same_training

FLAGS = "--contrastive-epochs 2 --random-epochs 0 --growing-epochs 0 --schedule cosine".split()
FLAGS += "--warmup-steps 2 --ema 0.8 --weight-decay 0.01 --epochs 3".split()


@pytest.fixture(scope="module")
def averaged_run(run_flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("averaged") / "run"
    train.main([*run_flags, *FLAGS, "--out", str(folder)])
    return RunDirectory(folder)


def rows_of(run):
    with open(run.log_file, encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_best_model_is_the_average_and_last_is_not(averaged_run):
    run = averaged_run
    rows = rows_of(run)
    assert len(rows) == 3 and all(np.isfinite(list(row.values())).all() for row in rows)
    last = keras.saving.load_model(run.last_model)
    dev = splits.load_split(run.config(), "dev")
    with averaged_weights(last):
        assert evaluate_model(last, dev).rsum == pytest.approx(rows[-1]["val_rsum"])
        average = last.get_weights()
    assert any(np.any(a != b) for a, b in zip(last.get_weights(), average, strict=True))
    best = keras.saving.load_model(run.best_model)
    assert evaluate_model(best, dev).rsum == pytest.approx(run.progress["best_rsum"])
    assert max(row["val_rsum"] for row in rows) == run.progress["best_rsum"]


def small_model(**optimizer) -> keras.Model:
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    model.compile(keras.optimizers.SGD(1.0, **optimizer), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_checkpoint_of_the_best_epoch_has_the_average(tmp_path):
    run, model = RunDirectory(tmp_path), small_model(use_ema=True, ema_momentum=0.5)
    callback = RunCheckpoint(run)
    callback.set_model(model)
    callback.on_train_begin()
    model.set_weights([np.full((1, 1), 4.0)])
    for epoch in range(3):
        model.optimizer.apply([np.ones((1, 1), "float32")], model.trainable_variables)
        callback.on_epoch_end(epoch, {"val_rsum": float(epoch)})
    # 3, then halfway to 2, then halfway to 1.
    assert keras.saving.load_model(run.best_model).get_weights()[0] == 1.75
    assert keras.saving.load_model(run.last_model).get_weights()[0] == 1.0
    assert model.get_weights()[0] == 1.0


@pytest.mark.parametrize("patience, stops", [(1, 4), (2, 4), (3, 6), (None, 0)])
def test_patience_waits_for_an_epoch_that_is_measured(patience, stops, tmp_path):
    run, model = RunDirectory(tmp_path), small_model()
    callback = RunCheckpoint(run, patience)
    callback.set_model(model)
    callback.on_train_begin()
    model.stop_training = False
    for epoch, rsum in enumerate([np.nan, 30.0, np.nan, 20.0, np.nan, 10.0]):
        callback.on_epoch_end(epoch, {"val_rsum": rsum})
        assert model.stop_training == (epoch + 1 == stops)
        assert callback.state.out_of_patience(patience) == model.stop_training
        if model.stop_training:
            break
    assert run.progress["epochs"] == (stops or 6)


def test_learning_rate_warms_up_and_falls(averaged_run):
    peak, steps = averaged_run.config().training.learning_rate, 3 * STEPS
    expected = [
        peak * (1 + np.cos(np.pi * (epoch * STEPS - 2) / (steps - 2))) / 2 for epoch in (1, 2, 3)
    ]
    found = [row["learning_rate"] for row in rows_of(averaged_run)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_losses_follow_one_another(averaged_run):
    last = keras.saving.load_model(averaged_run.last_model)
    assert last.retrieval_loss.first_steps == 2 * STEPS < last.optimizer.iterations
    # Cross-entropies of scores times ten, then hinges of scores.
    losses = [row["loss"] for row in rows_of(averaged_run)]
    assert losses[1] > 2 * losses[2]


def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    averaged_run, run_flags, tmp_path, monkeypatch
):
    run = RunDirectory(tmp_path / "run")
    begin = Throughput.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Throughput, "on_epoch_begin", interrupt)
        with pytest.raises(SystemExit):
            train.main([*run_flags, *FLAGS, "--out", str(run.path)])
    assert run.progress["epochs"] == 1
    train.main(["--resume", str(run.path)])
    assert run.progress == averaged_run.progress
    assert_same_training(run, averaged_run)


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
