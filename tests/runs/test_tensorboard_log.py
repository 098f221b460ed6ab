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
from hslm_tf.runs.tensorboard_log import TensorBoardLog, hparams_of, tag_of
from hslm_tf.text.vocabulary import Vocabulary
from tests.events import hparams_of_session, tensors_of
from tests.tiny_run import IMAGES


@pytest.fixture
def log(run_flags, tmp_path):
    """The log of a run that has not begun."""
    config = train.parse(run_flags).config
    run = RunDirectory(tmp_path / "runs" / "first")
    return TensorBoardLog(run, config, load_split(config, "dev"))


def write(log, scores, epochs=1, **logs):
    """Lets the log see scores in two blocks after every epoch."""
    log.on_train_begin()
    for epoch in range(epochs):
        log.seen = WatchedScores(log.dev.caption_to_image, IMAGES)
        for captions in (np.arange(0, 60, 2), np.arange(1, 60, 2)):
            log.seen.add(scores[:, captions], captions)
        log.on_epoch_end(epoch, {"val_rsum": 7.0, **logs})
    log.on_train_end()
    return log.run.tensorboard


def known_scores(log):
    """Every caption finds its own image first, but the first, which finds image 3."""
    own = log.dev.caption_to_image
    scores = np.random.default_rng(0).uniform(size=(IMAGES, len(own))).astype(np.float32)
    scores[own, np.arange(len(own))] += 1
    scores[0, 0], scores[3, 0] = 0.25, 1.5
    return scores


def test_histograms_hold_every_score(log):
    scores = known_scores(log)
    found = tensors_of(write(log, scores, epochs=2), "histograms")
    own = log.dev.caption_to_image
    right = own == np.arange(IMAGES)[:, None]
    negatives = np.where(right, -np.inf, scores)
    positives = scores[own, np.arange(len(own))]
    expected = {
        "positive": positives,
        "hardest_negative_i2t": negatives.max(axis=1),
        "hardest_negative_t2i": negatives.max(axis=0),
        "margin_i2t": np.where(right, scores, -np.inf).max(axis=1) - negatives.max(axis=1),
        "margin_t2i": positives - negatives.max(axis=0),
    }
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
    write(log, known_scores(log))
    assert tensors_of(log.run.best_results, "scalars") == {"dev/rsum": {1: 9.0}}


def test_measuring_is_evaluating(log):
    model = HSLM(log.config.model, Vocabulary.build({"photo": 9, "sea": 9}, 1).words)
    assert log.measure(model) == evaluate(model, log.dev).as_dict()
    assert np.all(log.seen.positives != 0)


def test_dev_is_scored_once(log, monkeypatch):
    scored = []
    original = tensorboard_log.evaluate_models

    def count(models, dataset, **arguments):
        scored.append(dataset)
        return original(models, dataset, **arguments)

    monkeypatch.setattr(tensorboard_log, "evaluate_models", count)
    model = HSLM(log.config.model, Vocabulary.build({"photo": 9, "sea": 9}, 1).words)
    log.on_train_begin()
    log.on_epoch_end(0, {f"val_{name}": value for name, value in log.measure(model).items()})
    log.on_train_end()
    assert len(scored) == 1


def test_the_configuration_is_flat(log):
    write(log, known_scores(log))
    trial, found = hparams_of_session(log.run.best_results)
    assert trial == "runs/first"
    assert found == hparams_of(log.config)
    assert found["learning_rate"] == log.config.training.learning_rate
    assert found["mgcn"] is False and found["patience"] == "none"
    assert (found["dataset"], found["vocabulary"]) == ("dataset0", "none")
    assert not {"train_split", "model", "training"} & found.keys()
    for config in PRESETS.values():
        assert {type(value) for value in hparams_of(config).values()} <= {bool, int, float, str}


@pytest.mark.parametrize(
    "name, tag",
    [
        ("val_rsum", "dev/rsum"),
        ("val_i2t_r1", "dev/i2t_r1"),
        ("val_t2i_mean_rank", "dev_ranks/t2i_mean_rank"),
        ("gradient_norm", "optimizer/gradient_norm"),
        ("learning_rate", "optimizer/learning_rate"),
        ("candidate_fraction", "train/candidate_fraction"),
        ("loss", "train/loss"),
    ],
)
def test_groups(name, tag):
    assert tag_of(name) == tag
