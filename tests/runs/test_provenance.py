"""What a run was trained with: recorded, compared when it goes on, and when it is measured."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from hslm_tf import train
from hslm_tf.data.errors import DataError
from hslm_tf.fingerprint import CodeFingerprint, DataFingerprint
from hslm_tf.models.hslm import HSLM
from hslm_tf.runs.provenance import Provenance
from hslm_tf.runs.splits import load_split, open_split
from tests.tiny_run import fails, write_dataset


@pytest.fixture
def moved(run, dataset_folder, tmp_path):
    """The run with a copy of its data that may be changed; tells the folder."""
    folder = shutil.copytree(dataset_folder, tmp_path / "data")
    text = run.config_file.read_text("utf-8")
    run.config_file.write_text(text.replace(str(dataset_folder), str(folder)), "utf-8")
    return folder


@pytest.fixture
def warnings(caplog):
    caplog.set_level("WARNING", "hslm_tf")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "hslm_tf"]


def sessions_of(run):
    return json.loads(run.provenance_file.read_text("utf-8"))["sessions"]


def edit(run, change):
    """Changes the last session, as if it had been another's."""
    sessions = sessions_of(run)
    change(sessions[-1])
    run.provenance_file.write_text(json.dumps({"sessions": sessions}), "utf-8")


def trained_by_others(session):
    session["versions"] |= {"keras": "3.14.1", "numpy": "2.0.0", "h5py": "1.0"}
    session["code"] = {"sha256": "0" * 64, "commit": "1234567890abcdef", "modified": True}


def change_features(folder, split):
    features = np.load(folder / f"{split}_ims.npy")
    np.save(folder / f"{split}_ims.npy", features + 1)


def test_a_run_records_what_it_was_trained_with(finished_run):
    [session] = sessions_of(finished_run)
    config = finished_run.config()
    age = datetime.now(UTC) - datetime.fromisoformat(session["time"])
    assert timedelta() <= age < timedelta(hours=2)
    assert session["command"] == shlex.join(sys.orig_argv)
    assert session["after"] == {"epochs": 0, "steps": 0}
    assert session["python"] == platform.python_version()
    libraries = ("tensorflow", "keras", "tensorflow-text", "keras-hub", "numpy", "h5py")
    for library in libraries:
        assert session["versions"][library] == importlib.metadata.version(library)
    assert session["versions"].keys() == {"hslm_tf", *libraries}
    assert session["configuration"] == dataclasses.asdict(config)
    assert any("CPU" in name for name in session["devices"]["names"])
    assert session["devices"]["cpu_cores"] == os.cpu_count()
    assert session["code"]["sha256"] == CodeFingerprint.now().sha256
    splits = {"train": "train", "dev": "dev", "measured": "test"}
    assert session["data"].keys() == splits.keys()
    for role, name in splits.items():
        split = load_split(config, name)
        assert session["data"][role] == {
            "split": name,
            "source": split.source,
            "fingerprint": dataclasses.asdict(DataFingerprint.of(split)),
        }


def test_a_session_for_every_time_that_it_trains(run, monkeypatch):
    before = run.provenance_file.read_bytes()
    train.main(["--resume", str(run.path)])
    assert run.provenance_file.read_bytes() == before, "there was nothing to do"
    monkeypatch.setattr(HSLM, "fit", lambda *_, **__: None)
    train.main(["--resume", str(run.path), "--epochs", "5"])
    first, second = sessions_of(run)
    assert first == json.loads(before)["sessions"][0]
    assert second["after"] == {"epochs": 4, "steps": 0}
    assert second["configuration"]["training"]["epochs"] == 5


@pytest.mark.parametrize("split", ["train", "dev"])
def test_other_data_stop_a_run_that_would_go_on(split, run, moved, capsys):
    change_features(moved, split)
    before = {path: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    error = fails(["--resume", run.path, "--epochs", "6"], capsys)
    assert f"{moved / split}_ims.npy: split '{split}' is not the one that {run.path}" in error
    assert "recorded: other features. It cannot go on as it began" in error
    assert {path: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before


def check(run, splits=("train", "dev", "test")):
    config = run.config()
    opened = (load_split(config, split) for split in splits)
    Provenance(run, dict(zip(("train", "dev", "measured"), opened, strict=False))).check()


def test_another_test_split_is_worth_a_warning(run, moved, warnings):
    change_features(moved, "test")
    check(run, ("train", "dev"))
    assert warnings() == []
    check(run)
    open_split(run)
    place = f"{moved / 'test_ims.npy'}: split 'test' is not the one that {run.path}"
    assert warnings() == [f"{place} recorded: other features"] * 2
    shutil.copy(moved / "test_ims.npy", moved / "holiday_ims.npy")
    shutil.copy(moved / "test_caps.txt", moved / "holiday_caps.txt")
    open_split(run, "holiday")
    assert len(warnings()) == 2, "nothing is recorded of this split"


def test_other_code_is_worth_a_warning(run, warnings):
    check(run)
    for split in ("train", "dev", None):
        open_split(run, split)
    assert warnings() == []
    edit(run, trained_by_others)
    train.main(["--resume", str(run.path)])
    keras, numpy = (importlib.metadata.version(name) for name in ("keras", "numpy"))
    expected = (
        f"{run.path} was trained by other code than runs now: keras {keras} instead of 3.14.1, "
        f"numpy {numpy} instead of 2.0.0, other source files of hslm_tf "
        f"({CodeFingerprint.now()} instead of commit 1234567890 with changes)"
    )
    assert expected in warnings()


def test_an_older_run_goes_on_without_a_record(run, moved, warnings):
    run.provenance_file.unlink()
    change_features(moved, "train")
    check(run)
    open_split(run)
    assert warnings() == []


@pytest.mark.parametrize(
    "content, error",
    [
        ('{"sessions": ', "provenance.json is not JSON"),
        ("[]", "provenance.json holds [], expected an object"),
        ("{}", "provenance.json: sessions is null, expected a list of objects"),
        ('{"sessions": []}', "sessions is [], expected a list of objects"),
        ('{"sessions": [4]}', "provenance.json: session 1 holds 4, expected an object"),
        ('{"sessions": [{"versions": {}}]}', "session 1 lacks code, data"),
    ],
)
def test_a_damaged_record(content, error, run, warnings, capsys):
    run.provenance_file.write_text(content, "utf-8")
    found = fails(["--resume", run.path, "--epochs", "6"], capsys)
    assert error in found and str(run.provenance_file) in found
    assert run.config().training.epochs == 4
    assert open_split(run).num_images == 12
    [warning] = warnings()
    assert error in warning and warning.endswith("what the run was trained with is not compared")


@pytest.mark.parametrize(
    "change, error",
    [
        (lambda s: s["versions"].pop("keras"), "lacks keras in"),
        (lambda s: s["code"].update(sha256=5), "`sha256` must be str. Received: sha256=5"),
        (lambda s: s.update(data=[]), "holds [], expected an object"),
        (lambda s: s["data"].update(train=[]), "holds [], expected an object"),
        (lambda s: s["data"]["dev"].pop("split"), "lacks split in"),
        (lambda s: s["data"]["dev"]["fingerprint"].pop("images"), "lacks images in"),
        (lambda s: s["data"]["dev"]["fingerprint"].update(images="1"), "`images` must be int"),
    ],
)
def test_a_damaged_session(change, error, run):
    edit(run, change)
    place = re.escape(f"{run.provenance_file}: session 1")
    with pytest.raises(DataError, match=f"{place}.*{re.escape(error)}"):
        check(run)


def test_evaluate_says_it_on_standard_error_and_goes_on(run, tmp_path):
    edit(run, trained_by_others)
    data = write_dataset(tmp_path / "data", images=14, seed=1)
    command = [sys.executable, "-m", "hslm_tf.evaluate", run.path, "--dataset", data]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "R@10" in done.stdout
    said = [line for line in done.stderr.splitlines() if str(run.path) in line]
    assert said[0].startswith(f"{run.path} was trained by other code than runs now: keras ")
    assert said[1].startswith(f"{data / 'test_ims.npy'}: split 'test' is not the one that ")
    assert said[1].endswith(
        "recorded: 14 images instead of 12, 70 captions instead of 60 (--dataset names other data)"
    )
