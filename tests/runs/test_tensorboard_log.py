"""What TensorBoard shows of a run, read back from the event files."""

import math

import numpy as np
import pytest

from hslm_tf import train
from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.evaluation.streaming_ranks import WatchedScores
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import PRESETS
from hslm_tf.runs import tensorboard_log
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split
from hslm_tf.runs.tensorboard_log import TensorBoardLog, hparams_of
from hslm_tf.text.vocabulary import Vocabulary
from tests.events import tensors_of
from tests.tiny_run import IMAGES


@pytest.fixture
def log(run_flags, tmp_path):
    """The log of a run that has not begun."""
    config = train.parse(run_flags).config
    run = RunDirectory(tmp_path / "runs" / "first")
    return TensorBoardLog(run, config, load_split(config, "dev"))


def write(log, epochs=1):
    """Lets the log see scores after every epoch; returns what is worth seeing of them."""
    own = log.dev.caption_to_image
    scores = np.random.default_rng(0).uniform(size=(IMAGES, len(own))).astype(np.float32)
    log.on_train_begin()
    for epoch in range(epochs):
        log.seen = WatchedScores(own, IMAGES)
        log.seen.add(scores, np.arange(len(own)))
        seen = log.seen.distributions()
        log.on_epoch_end(epoch, {"val_rsum": 7.0})
    log.on_train_end()
    return seen


def test_histograms_hold_every_score(log):
    expected = write(log, epochs=2)
    found = tensors_of(log.run.tensorboard, "histograms")
    assert found.keys() == {f"dev_scores/{name}" for name in expected}
    for name, values in expected.items():
        assert list(found[f"dev_scores/{name}"]) == [1, 2]
        for buckets in found[f"dev_scores/{name}"].values():
            edges = np.append(buckets[:, 0], buckets[-1, 1])
            np.testing.assert_allclose(edges[[0, -1]], [values.min(), values.max()], rtol=1e-6)
            assert buckets[:, 2].sum() == len(values)
            # Rounding moves a value that is an edge to the neighbouring bucket.
            assert np.abs(buckets[:, 2] - np.histogram(values, edges)[0]).sum() <= 4


def test_an_epoch_that_is_not_measured_shows_no_scores(log):
    log.on_train_begin()
    log.on_epoch_end(0, {"loss": 0.5, "val_rsum": math.nan})
    log.on_train_end()
    assert tensors_of(log.run.tensorboard, "scalars") == {"train/loss": {1: 0.5}}
    assert tensors_of(log.run.tensorboard, "histograms") == {}
    assert tensors_of(log.run.best_results, "scalars") == {}


def test_best_rsum_never_falls(log):
    log.run.best_results.mkdir(parents=True)
    log.run.write_progress({"epochs": 1, "best_rsum": 9.0})
    write(log)
    assert tensors_of(log.run.best_results, "scalars") == {"dev/rsum": {1: 9.0}}


def test_measuring_is_evaluating_once(log, monkeypatch):
    scored = []
    original = tensorboard_log.evaluate_models

    def count(models, dataset, **arguments):
        scored.append(dataset)
        return original(models, dataset, **arguments)

    monkeypatch.setattr(tensorboard_log, "evaluate_models", count)
    model = HSLM(log.config.model, Vocabulary.build({"photo": 9, "sea": 9}, 1).words)
    log.on_train_begin()
    found = log.measure(model)
    assert np.all(log.seen.positives != 0)
    log.on_epoch_end(0, {f"val_{name}": value for name, value in found.items()})
    log.on_train_end()
    assert len(scored) == 1 and found == evaluate(model, log.dev).as_dict()


def test_the_configuration_is_flat():
    for config in PRESETS.values():
        found = hparams_of(config)
        assert not {"train_split", "model", "training"} & found.keys()
        assert {type(value) for value in found.values()} <= {bool, int, float, str}
