"""Files of a run that are damaged: one line that names the file."""

import shutil

import pytest

from hslm_tf import index, train
from hslm_tf.data.errors import DataError
from hslm_tf.runs.checkpoints import load_whole
from hslm_tf.runs.opening import load_model
from hslm_tf.runs.run_directory import RunDirectory
from tests.mutants import mutants
from tests.tiny_run import fails


@pytest.fixture
def run(finished_run, tmp_path):
    return RunDirectory(shutil.copytree(finished_run.path, tmp_path / "run"))


@pytest.mark.parametrize(
    "content, error",
    [
        ("{}", "progress.json: epochs is None, expected a number"),
        ('{"epochs": ', "progress.json is not JSON"),
        ("[1]", r"progress.json holds [1], expected an object"),
        (
            '{"epochs": true, "measured_epoch": 1, "best_epoch": 1, "best_rsum": 1}',
            "epochs is True",
        ),
        (
            '{"epochs": 1, "measured_epoch": 1, "best_epoch": 1, "best_rsum": "1"}',
            "best_rsum is '1'",
        ),
    ],
)
def test_a_damaged_record_of_progress(run, capsys, content, error):
    (run.path / "progress.json").write_text(content)
    found = fails(["--resume", run.path], capsys)
    assert str(run.path) in found and error in found


def test_a_log_that_is_no_text(run, capsys):
    run.log_file.write_bytes(b"\xff\xfe\x00\x80")
    assert f"{run.log_file} is no text" in fails(["--resume", run.path, "--epochs", 6], capsys)


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK" * 99]
)
def test_a_damaged_checkpoint(run, capsys, damage):
    run.last_model.write_bytes(damage(run.last_model.read_bytes()))
    found = fails(["--resume", run.path, "--epochs", 6], capsys)
    assert f"{run.last_model} is no model that can be read" in found
    run.best_model.write_bytes(damage(run.best_model.read_bytes()))
    with pytest.raises(DataError, match="best.keras is no model that can be read"):
        load_model(run.path)
    with pytest.raises(SystemExit) as stop:
        index.main([str(run.path)])
    assert "best.keras is no model" in str(stop.value.code) and "\n" not in stop.value.code


def test_a_checkpoint_that_is_not_there(run, capsys):
    run.last_model.unlink()
    assert "last.keras: there is no such file" in fails(
        ["--resume", run.path, "--epochs", 6], capsys
    )


def test_mutants_of_a_model_are_named(run):
    content = run.best_model.read_bytes()
    for mutant in mutants(content, 40):
        run.best_model.write_bytes(mutant)
        try:
            load_whole(run.best_model)
        except DataError as error:
            assert "best.keras is no model that can be read: " in str(error)
            assert "\n" not in str(error)


def test_training_goes_on_as_before(run):
    train.main(["--resume", str(run.path), "--epochs", "5", "--quiet"])
    assert run.progress["epochs"] == 5
