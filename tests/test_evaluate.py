import dataclasses
import importlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from hslm_tf.evaluation.exact_recall import evaluate as evaluate_model
from hslm_tf.evaluation.ranks import ranks, recall_report
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.hubness import HubCorrection, draw_bank
from hslm_tf.runs import evaluation as run_evaluation
from hslm_tf.runs import splits
from hslm_tf.runs.run_directory import RunDirectory
from tests.quick_graphs import QUICK_GRAPHS
from tests.tiny_run import fails, run_with_other_weights, write_dataset

pytestmark = pytest.mark.usefixtures("loaded_once")

# By this name the package gives a function, too.
evaluate = importlib.import_module("hslm_tf.evaluate")

COLUMNS = ("r1", "r5", "r10", "median_rank", "mean_rank")


@pytest.fixture(scope="module")
def other_run(finished_run, tmp_path_factory):
    """The run again with other weights, moved away: a run of another seed."""
    return run_with_other_weights(finished_run, tmp_path_factory.mktemp("moved") / "other")


@pytest.fixture(scope="module")
def scores(finished_run, other_run):
    """Scores on the test split by name of the run, not computed by the command."""
    test = splits.load_split(finished_run.config(), "test")
    return {
        run.path.name: score_matrix(keras.saving.load_model(run.best_model), test)
        for run in (finished_run, other_run)
    }


def table_of(args, capsys):
    """Runs the command; returns its numbers as text, by row."""
    evaluate.main([str(arg) for arg in args])
    rows, name = {}, None
    for line in capsys.readouterr().out.splitlines():
        head, side, cells = line.partition(" i2t ") if " i2t " in line else line.partition(" t2i ")
        if side:
            name = head.strip() or name
            rows[name, side.strip()] = cells.split()
    return rows


def named_rows(name, report):
    """The two rows of a report in the table."""
    numbers = {key: f"{value:.1f}" for key, value in report.as_dict().items()}
    i2t, t2i = ([numbers[f"{side}_{column}"] for column in COLUMNS] for side in ("i2t", "t2i"))
    return {(str(name), "i2t"): i2t, (str(name), "t2i"): [*t2i, numbers["rsum"]]}


def report_of(scores):
    return recall_report(*ranks(scores, np.repeat(np.arange(len(scores)), 5)))


def test_a_moved_run_is_measured_exactly(other_run, scores, tmp_path, capsys):
    written = tmp_path / "matrix.scores"
    rows = table_of([other_run.path, "--save-scores", written], capsys)
    test = splits.load_split(other_run.config(), "test")
    report = evaluate_model(keras.saving.load_model(other_run.best_model), test)
    assert rows == named_rows(other_run.path, report)
    np.testing.assert_array_equal(np.load(written), scores["other"])
    assert list(tmp_path.iterdir()) == [written]


def test_several_runs_end_with_mean_and_deviation(finished_run, other_run, scores, capsys):
    rows = table_of([finished_run.path, other_run.path], capsys)
    reports = [report_of(scores[name]) for name in ("finished", "other")]
    for run, report in zip((finished_run, other_run), reports, strict=True):
        assert named_rows(run.path, report).items() <= rows.items()
    rsums = [report.rsum for report in reports]
    assert rsums[0] != rsums[1]
    deviation = abs(rsums[0] - rsums[1]) / 2**0.5
    assert rows["mean", "t2i"][-1] == f"{np.mean(rsums):.1f}±{deviation:.1f}"
    assert len(rows) == 6


def test_ensemble_averages_scores(finished_run, other_run, scores, tmp_path, capsys):
    args = [finished_run.path, other_run.path, "--ensemble"]
    rows = table_of([*args, "--save-scores", tmp_path / "scores.npy"], capsys)
    average = (scores["finished"] + scores["other"]) / 2
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), average, rtol=1e-6)
    expected = named_rows("ensemble of 2", report_of(average))
    assert rows == expected
    rows = table_of(["hubs", *args], capsys)
    assert expected["ensemble of 2", "i2t"] == rows["ensemble of 2", "i2t"]
    assert ("ensemble of 2, hubs corrected", "i2t") in rows


def test_another_dataset_and_split(finished_run, tmp_path, capsys):
    elsewhere = write_dataset(tmp_path / "elsewhere", images=7, seed=5)
    args = [finished_run.path, "--dataset", elsewhere, "--split", "dev"]
    rows = table_of([*args, "--save-scores", tmp_path / "scores.npy"], capsys)
    found = np.load(tmp_path / "scores.npy")
    assert found.shape == (7, 35)
    assert rows == named_rows(finished_run.path, report_of(found))


@pytest.mark.parametrize("flags", [["--ensemble"], []])
@pytest.mark.parametrize("change", ["order", "size"])
def test_runs_on_different_data_are_not_mixed(
    change, flags, finished_run, run, dataset_folder, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "changed"
    if change == "order":
        shutil.copytree(dataset_folder, folder)
        captions = (folder / "test_caps.txt").read_text().splitlines()
        (folder / "test_caps.txt").write_text("\n".join(captions[5:] + captions[:5]) + "\n")
    else:
        write_dataset(folder, images=11)
    config_on(run, folder).save(run.config_file)
    monkeypatch.setattr(run_evaluation, "evaluate_runs", lambda *args: pytest.fail("scored"))
    error = fails([finished_run.path, run.path, *flags], capsys, evaluate)
    assert f"{run.path}: {folder / 'test_ims.npy'} does not hold the captions of" in error
    assert "--dataset measures all runs on the same data" in error


# Runs the command and dies without a chance to clean up, when the second block has been noted.
KILLED = """
import os, signal, sys
import importlib
evaluate = importlib.import_module("hslm_tf.evaluate")
from hslm_tf.evaluation.evaluation_state import EvaluationState

save, calls = EvaluationState.save_if_due, []

def save_and_die(state, arrays):
    state.interval = 0
    save(state, arrays)
    calls.append(state)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

EvaluationState.save_if_due = save_and_die
evaluate.main(sys.argv[1:])
"""


@pytest.mark.parametrize("save", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_killed_evaluation_goes_on(save, run, tmp_path, capsys, caplog):
    caplog.set_level("INFO", "hslm_tf")
    # Three blocks of 128 captions.
    data = write_dataset(tmp_path / "data", images=60)
    args = [str(run.path), "--dataset", str(data)]
    expected = table_of(args, capsys)
    written = tmp_path / "scores.npy"
    args += ["--save-scores", str(written)] if save else []
    killed = subprocess.run(
        [sys.executable, "-c", QUICK_GRAPHS + KILLED, *args],
        cwd=Path(__file__).parents[1],
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL and b"R@1" not in killed.stdout
    (state,) = run.evaluation.iterdir()
    assert state.name == ("test-all-scores.npz" if save else "test-all.npz")
    kept = state.read_bytes()

    assert table_of(args, capsys) == expected
    assert "Continuing after 256 of 300 captions" in caplog.text
    assert not run.evaluation.exists()
    if save:
        model = keras.saving.load_model(run.best_model)
        matrix = score_matrix(model, splits.load_split(config_on(run, data), "test"))
        np.testing.assert_array_equal(np.load(written), matrix)

    for flags in (["--restart"], []):
        caplog.clear()
        state.parent.mkdir()
        state.write_bytes(kept)
        if not flags:
            write_dataset(data, images=60, seed=1)
        table_of([*args, *flags], capsys)
        assert "Continuing" not in caplog.text
        assert ("ignored, it was left by an evaluation" in caplog.text) == (not flags)
    assert "with other data" in caplog.text


def config_on(run, data):
    """The configuration of a run, on other data."""
    config = run.config()
    return dataclasses.replace(config, data=dataclasses.replace(config.data, dataset=str(data)))


def test_mistakes_are_one_error(finished_run, tmp_path, capsys):
    run, other = finished_run.path, tmp_path / "fresh"
    RunDirectory(other).write_config(finished_run.config())
    scores = tmp_path / "scores.npy"
    for args, message in (
        ([], "name at least one run"),
        ([run, run, "--save-scores", scores], "--save-scores takes one run, or several with"),
        ([run, "--save-scores", tmp_path / "no" / "file.npy"], "there is no such folder"),
        ([tmp_path], f"{tmp_path} holds no run: there is no {tmp_path / 'config.json'}"),
        ([other], f"{other} has no model yet: there is no {other / 'best.keras'}"),
        ([run, "--split", "val"], "holds no region features of the split 'val'"),
        ([run, "--dataset", tmp_path / "nowhere"], "there is no such file"),
        ([run, "--protocol", "1k", "--save-scores", scores], "'1k' is defined on 1000 images"),
        (["candidates", run, "--num-candidates", "0"], "--num-candidates is at least 1. Received"),
        ([run, "--num-candidates", "5"], "Unrecognized"),
        (["candidates", run, "--restart"], "Unrecognized"),
        (["hubs", run, "--save-scores", "a.npy"], "Unrecognized"),
        (["pointing", run, "--ensemble"], "Unrecognized"),
    ):
        assert message in fails(args, capsys, evaluate), message
    assert not scores.exists()


def test_all_as_candidates_are_compared_with_the_exact_result(run, capsys):
    run.results_file.unlink()
    args = ["candidates", str(run.path), "--num-candidates", "60"]
    assert table_of(args, capsys) == table_of([run.path], capsys)
    evaluate.main(args)
    printed = capsys.readouterr().out
    assert "candidates 60: all items, exact" in printed
    assert f"`python -m hslm_tf.index heads {run.path}`" in printed
    assert "not known" not in printed
    assert printed.count("+0.0") == 11 and printed.count("\n exact ") == 1


def test_candidates_say_that_they_are_approximate(finished_run, other_run, capsys):
    two = [str(finished_run.path), str(other_run.path), "--num-candidates", "2"]
    evaluate.main(["candidates", *two])
    printed = capsys.readouterr().out
    assert "candidates 2, approximate, found by plain means" in printed
    few = table_of(["candidates", *two, "--ensemble"], capsys)
    # Where another test has measured the ensemble, its exact result stands below.
    assert list(few)[:2] == [("ensemble of 2", "i2t"), ("ensemble of 2", "t2i")]


def test_hubs_are_corrected_with_a_bank_of_the_training_split(finished_run, scores, capsys):
    run, config = finished_run, finished_run.config()
    rows = table_of(["hubs", run.path], capsys)
    bank = draw_bank(splits.load_split(config, "train"))
    correction = HubCorrection(keras.saving.load_model(run.best_model), bank)
    images, captions = correction.of_dataset(splits.load_split(config, "test"))
    corrected = scores["finished"] - images[:, None] - captions
    plain = named_rows(run.path, report_of(scores["finished"]))
    assert rows[str(run.path), "t2i"] == plain[str(run.path), "t2i"]
    assert named_rows(f"{run.path}, hubs corrected", report_of(corrected)).items() <= rows.items()


def test_pointing_of_a_run(whole_run, dataset_folder, tmp_path, capsys):
    folder = shutil.copytree(dataset_folder, tmp_path / "data")
    (folder / "test_caps.txt").write_text("A dog and a boy .\n" * 60)
    corners = np.tile([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], (3, 1))
    np.save(folder / "test_boxes.npy", np.float32([corners] * 12))
    args = ["pointing", str(whole_run.path), "--dataset", str(folder)]
    assert "test_box_class.npy" in fails(args, capsys, evaluate)
    np.save(folder / "test_box_class.npy", np.int32([[16, 0, -1, -1, -1, -1]] * 12))
    np.save(folder / "test_box_score.npy", np.float32([[0.9, 0.9, 0, 0, 0, 0]] * 12))
    evaluate.main(args)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    # Every second region lies on the dog, so that chance is a half.
    found = [row[:2] for row in rows if row[-1:] == ["50.0"]]
    assert found == [["boy", "60"], ["dog", "60"], ["all", "120"]]
