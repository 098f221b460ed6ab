"""Runs that begin with a contrastive loss, average their weights and stop early."""

import csv

import keras
import numpy as np
import pytest

from hslm_tf import experiment, train
from hslm_tf.run_directory import RunDirectory
from hslm_tf.training.averaging import averaged_weights
from hslm_tf.training.callbacks import Throughput
from tests.tiny_run import STEPS

FLAGS = "--contrastive-epochs 2 --random-epochs 0 --growing-epochs 0 --schedule cosine".split()
FLAGS += "--warmup-steps 2 --ema 0.8 --weight-decay 0.01 --epochs 3 --quiet".split()


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
    dev = experiment.load_split(run.config(), "dev")
    with averaged_weights(last):
        assert experiment.measure(last, dev).rsum == pytest.approx(rows[-1]["val_rsum"])
        average = last.get_weights()
    assert any(np.any(a != b) for a, b in zip(last.get_weights(), average, strict=True))
    if run.progress["best_epoch"] == 3:
        best = keras.saving.load_model(run.best_model).get_weights()
        for a, b in zip(best, average, strict=True):
            np.testing.assert_array_equal(a, b)
    assert max(row["val_rsum"] for row in rows) == run.progress["best_rsum"]


def test_learning_rate_warms_up_and_falls(averaged_run):
    peak, steps = averaged_run.config().training.learning_rate, 3 * STEPS
    expected = [
        peak * (1 + np.cos(np.pi * (epoch * STEPS - 2) / (steps - 2))) / 2 for epoch in (1, 2, 3)
    ]
    found = [row["learning_rate"] for row in rows_of(averaged_run)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_losses_follow_one_another(averaged_run):
    # log(16) is the contrastive loss of a batch of equal scores; scores differ by 2 at most at the
    # start, so that two hinges stay well below it.
    losses = [row["loss"] for row in rows_of(averaged_run)]
    assert losses[0] > 0.9 * np.log(16) and losses[2] < losses[0] / 2


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
    train.main(["--resume", str(run.path), "--quiet"])
    assert run.progress == averaged_run.progress
    resumed, straight = (
        [*model.weights, *model.optimizer.variables]
        for model in map(keras.saving.load_model, (run.last_model, averaged_run.last_model))
    )
    for one, other in zip(resumed, straight, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6, err_msg=one.path)
    for one, other in zip(rows_of(run), rows_of(averaged_run), strict=True):
        del one["pairs_per_second"], other["pairs_per_second"]
        np.testing.assert_allclose(list(one.values()), list(other.values()), atol=1e-5)


def test_patience_ends_a_run_that_no_longer_improves(run_flags, tmp_path):
    """At a learning rate of nearly nothing the first epoch stays the best."""
    run = RunDirectory(tmp_path / "run")
    flags = ["--patience", "2", "--learning-rate", "1e-12", "--epochs", "9", "--quiet"]
    train.main([*run_flags, *flags, "--out", str(run.path)])
    assert run.progress["best_epoch"] == 1
    assert run.progress["epochs"] == 3
    # Going on with it stays at that.
    train.main(["--resume", str(run.path), "--quiet"])
    assert run.progress["epochs"] == 3
