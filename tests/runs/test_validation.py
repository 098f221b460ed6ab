"""Validation by candidates, with heads that are fitted while the run trains."""

import dataclasses

import numpy as np
import pytest

from hslm_tf import train
from hslm_tf.data.json_object import read_object, write_object
from hslm_tf.evaluation.exact_recall import evaluate, evaluate_models
from hslm_tf.evaluation.ranks import DirectionReport, RecallReport
from hslm_tf.retrieval.candidate_scores import CandidateScores
from hslm_tf.runs import validation
from hslm_tf.runs.opening import load_heads, load_model
from hslm_tf.runs.results import exact_result, keep_recall, known_recall
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split
from hslm_tf.runs.training_state import TrainingState
from hslm_tf.runs.validation import exact_recall
from tests.tiny_run import rows_of

NUMBERS = [field.name for field in dataclasses.fields(DirectionReport)]

FLAGS = ["--validation-candidates", "3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, run_flags):
    """The first two epochs of `finished_run`, but validated by candidates."""
    folder = tmp_path_factory.mktemp("runs") / "candidates"
    with pytest.MonkeyPatch.context() as patch:
        heads = dataclasses.replace(validation.HEADS_OF_A_VALIDATION, steps=4, dim=8, concepts=4)
        patch.setattr(validation, "HEADS_OF_A_VALIDATION", heads)
        train.main([*run_flags, *FLAGS, "--epochs", "2", "--out", str(folder)])
    return RunDirectory(folder)


def test_the_model_learns_the_same(run, finished_run):
    # To the last bit, in the epoch after a validation, too.
    names = ("loss", "gradient_norm", "positive_score", "negative_score")
    found, expected = (
        [[row[name] for name in names] for row in rows_of(r)] for r in (run, finished_run)
    )
    assert len(found) == 2 and found == expected[:2]


def test_heads_are_those_of_the_best_model(run):
    best, dev = load_model(run.path), load_split(run.config(), "dev")
    heads = load_heads(run.path, best)
    assert heads.dim == 8 and heads.teacher_fingerprint
    assert any(np.abs(weight.numpy()).max() > 0 for weight in heads.weights)
    report = evaluate_models([best], dev, blocks=CandidateScores([heads], 3))
    logged = rows_of(run)[run.progress["best_epoch"] - 1]
    assert {f"val_{name}": value for name, value in report.as_dict().items()} == {
        name: value for name, value in logged.items() if name.startswith("val_")
    }
    # Three of sixty captions and twelve images are not all.
    assert report != evaluate(best, dev)


def test_dev_is_not_scored_again_after_an_exact_validation(finished_run, run, monkeypatch):
    config, best = finished_run.config(), load_model(finished_run.path)
    dev, on_dev = load_split(config, "dev"), TrainingState.of(finished_run.last_model).best_recall
    assert on_dev == evaluate(best, dev)
    # A validation by candidates is no exact result.
    assert exact_recall(run.config(), best, dev, on_dev=None) == on_dev
    monkeypatch.setattr(validation, "evaluate_models", None)
    assert exact_recall(config, best, dev, on_dev) is on_dev


def test_the_test_split_is_measured_exactly(run, capsys):
    train.main(["--resume", str(run.path)])
    printed = capsys.readouterr().out
    assert "dev, candidates 3, approximate" in printed
    test, best = load_split(run.config(), "test"), load_model(run.path)
    result = exact_result([best], test, "all")
    assert known_recall(run, result) == evaluate(best, test)
    assert known_recall(run, result | {"protocol": "1k"}) is None


@pytest.mark.parametrize(
    "found",
    [
        *([], None, 3, "a", {}, {"recall": []}, {"recall": {"i2t": [1] * 5, "t2i": [1] * 5}}),
        *({"recall": {"i2t": side}} for side in ({}, {"r1": 1}, None, [[]])),
        *(
            {"recall": {side: dict.fromkeys(NUMBERS, number) for side in ("i2t", "t2i")}}
            for number in (float("nan"), float("inf"), 10**400, "9", None, True, [1], {})
        ),
    ],
)
def test_a_damaged_result_is_ignored(found, tmp_path, caplog):
    run, result = RunDirectory(tmp_path), {"models": "a"}
    keep_recall(run, result, RecallReport(*(DirectionReport(1, 2, 3, 4, 5) for _ in range(2))))
    assert known_recall(run, result).rsum == 12
    (key,) = read_object(run.results_file)
    write_object(run.results_file, {key: found})
    assert known_recall(run, result) is None
    # Nothing is known of what is null.
    assert f"{tmp_path / 'results.json'}: ignored, it is damaged" in caplog.text or found is None


@pytest.mark.parametrize("text", [b"{", b"[]", b"[" * 10**5, b"\xff", b'{"a": ' * 10**5, b""])
def test_a_damaged_record_is_ignored(text, tmp_path, caplog):
    (tmp_path / "results.json").write_bytes(text)
    assert known_recall(RunDirectory(tmp_path), {"models": "a"}) is None
    assert f"{tmp_path / 'results.json'}" in caplog.text
