"""Files of a run that are damaged: one line that names the file."""

import io
import json
import shutil
import zipfile

import keras
import pytest

from hslm_tf import export, index, search, train
from hslm_tf.data.errors import DataError
from hslm_tf.runs.checkpoints import load_checkpoint, load_whole
from hslm_tf.runs.opening import load_model
from hslm_tf.runs.training_state import TrainingState
from tests.mutants import mutants
from tests.tiny_run import fails

PROGRESS = {"epochs": 1, "measured_epoch": 1, "best_epoch": 1, "best_rsum": 1}


@pytest.mark.parametrize(
    "content, error",
    [
        ("{}", "progress.json: epochs is None, expected a number"),
        ('{"epochs": ', "progress.json is not JSON"),
        ("[1]", "progress.json holds [1], expected an object"),
        (json.dumps(PROGRESS | {"epochs": True}), "epochs is True"),
        (json.dumps(PROGRESS | {"best_rsum": "1"}), "best_rsum is '1'"),
    ],
)
def test_a_damaged_record_of_progress(run, capsys, content, error):
    (run.path / "progress.json").write_text(content)
    found = fails(["--resume", run.path], capsys)
    assert str(run.path) in found and error in found


def test_a_damaged_log_is_written_again(run):
    before = run.log_file.read_bytes()
    run.log_file.write_bytes(b"\xff\xfe\x00\x80")
    train.main(["--resume", str(run.path)])
    assert run.log_file.read_bytes() == before


def with_a_flipped_weight(content: bytes) -> bytes:
    """A bit within the weights, which Keras reads without comparing the checksum."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        member = file.getinfo("model.weights.h5")
    damaged = bytearray(content)
    damaged[member.header_offset + member.compress_size - 100] ^= 1
    return bytes(damaged)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[: len(b) // 2], with_a_flipped_weight, lambda b: b"", lambda b: b"PK" * 99],
)
def test_a_damaged_checkpoint(run, capsys, caplog, damage):
    run.last_model.write_bytes(damage(run.last_model.read_bytes()))
    state = load_checkpoint(run).state
    assert str(run.last_model) in caplog.text
    assert f"Going on from {run.previous_model}, after 3 complete epochs" in caplog.text
    assert (state.epochs, len(state.history)) == (3, 3)

    run.previous_model.write_bytes(damage(run.previous_model.read_bytes()))
    found = fails(["--resume", run.path, "--epochs", 6], capsys)
    assert str(run.last_model) in found and str(run.previous_model) in found
    run.best_model.write_bytes(damage(run.best_model.read_bytes()))
    with pytest.raises(DataError, match="best.keras is no model that can be read"):
        load_model(run.path)
    assert "best.keras is no model" in fails([run.path], capsys, index)


def test_a_model_in_place_of_a_checkpoint(run, caplog):
    shutil.copyfile(run.best_model, run.last_model)
    assert load_checkpoint(run).state.epochs == 3
    assert "holds no training_state.json: training cannot go on from a model alone" in caplog.text


@pytest.mark.parametrize(
    "state, error",
    [
        ("[]", r"training_state.json holds \[\], expected an object"),
        ('{"epochs": 1}', "training_state.json has the keys epochs, expected best_epoch"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_a_damaged_training_state(tmp_path, state, error):
    with zipfile.ZipFile(tmp_path / "last.keras", "w") as file:
        file.writestr("training_state.json", state)
    with pytest.raises(DataError, match=f"last.keras: .*{error}"):
        TrainingState.of(tmp_path / "last.keras")


def test_a_checkpoint_that_is_not_there(run, capsys):
    run.last_model.unlink()
    assert load_checkpoint(run).state.epochs == 3
    run.previous_model.unlink()
    error = fails(["--resume", run.path, "--epochs", 6], capsys)
    assert "last.keras: there is no such file; " in error
    assert "previous.keras: there is no such file" in error


def test_mutants_of_a_model_are_named(run):
    content = run.best_model.read_bytes()
    for mutant in mutants(content, 40):
        run.best_model.write_bytes(mutant)
        try:
            load_whole(run.best_model)
        except DataError as error:
            assert "best.keras is no model that can be read: " in str(error)
            assert "\n" not in str(error)


def test_another_model_in_the_place_of_a_runs(run, capsys):
    """A plain Keras model is no HSLM, and has no heads."""
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(run.path / "plain.keras")
    shutil.copy(run.path / "plain.keras", run.projection_heads)
    error = fails(["collection", run.path], capsys, index)
    assert "projection_heads.keras cannot be read as projection heads" in error
    shutil.copy(run.path / "plain.keras", run.best_model)
    error = fails([run.path, "--out", run.path / "out"], capsys, export)
    assert "best.keras is no model that can be read: it holds a Sequential, expected" in error
    shutil.copy(run.path / "plain.keras", run.collection)
    assert "collection.h5 cannot be read as HDF5" in fails(
        [run.collection, "a dog"], capsys, search
    )


def test_mutants_of_a_checkpoint_fall_back(run, caplog):
    whole = run.last_model.read_bytes()
    for mutant in mutants(whole, 25, seed=3):
        run.last_model.write_bytes(mutant)
        assert load_checkpoint(run).file == run.previous_model
    assert caplog.text.count("Going on from") == 25
    run.last_model.write_bytes(whole)
    assert load_checkpoint(run).file == run.last_model
