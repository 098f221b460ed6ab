"""Runs that are killed, and go on."""

import os
import subprocess
import sys

import pytest

from hslm_tf import train
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.training.callbacks import Throughput
from tests.tiny_run import assert_same_training, fails


def test_what_a_killed_run_left_is_tidied_up(tmp_path):
    run = RunDirectory(tmp_path)
    run.tidy()
    assert not run.log_file.exists()
    run.log_file.write_text("epoch,loss\n0,0.5\n1,0.4\n2,0.")
    run.write_progress({"epochs": 2})
    (tmp_path / "draft-4711-last.keras").write_text("half a model")
    run.tidy()
    assert run.log_file.read_text() == "epoch,loss\n0,0.5\n1,0.4\n"
    run.write_progress({"epochs": 0})
    run.tidy()
    assert run.log_file.read_text() == ""
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "progress.json"}


def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    finished_run, run_flags, tmp_path, monkeypatch, capsys
):
    run = RunDirectory(tmp_path / "run of four")

    def interrupt(*_):
        raise KeyboardInterrupt

    # Stopped before the first epoch is complete: the run starts again.
    with monkeypatch.context() as patch:
        patch.setattr(Throughput, "on_epoch_begin", interrupt)
        with pytest.raises(SystemExit) as stop:
            train.main([*run_flags, "--epochs", "3", "--out", str(run.path), "--quiet"])
    assert stop.value.code == 130
    assert "Interrupted after 0 complete epochs" in capsys.readouterr().out
    assert run.progress["epochs"] == 0

    # Ctrl-C in the first steps of the third epoch, and one epoch more than it was started with.
    # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
    script = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('hslm_tf.train', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", script, "--resume", str(run.path), "--epochs", "4"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    printed = b""
    while b"/4" not in printed.partition(b"Epoch 3/4")[2] and (part := process.stdout.read1()):
        printed += part
    process.send_signal(2)
    printed += process.communicate(timeout=300)[0]
    assert process.returncode == 130, printed.decode()
    assert "Interrupted after 2 complete epochs" in printed.decode()
    assert f"python -m hslm_tf.train --resume '{run.path}'" in printed.decode()
    assert run.progress["epochs"] == 2

    train.main(["--resume", str(run.path), "--quiet"])
    assert f"Last model: {run.last_model}" in capsys.readouterr().out
    assert run.config() == finished_run.config()
    assert run.progress == finished_run.progress
    assert_same_training(run, finished_run)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--learning-rate", "0.5"], "only --epochs may be given beside --resume"),
        (["--no-mgcn", "--epochs", "6"], "only --epochs may be given beside --resume"),
        (["--preset", "sample"], "only --epochs may be given beside --resume"),
        (["--out", "elsewhere"], "only --epochs may be given beside --resume"),
        (["--epochs", "3"], "has 4 complete epochs, more than the 3 asked for"),
    ],
)
def test_resume_refuses_another_run(finished_run, flags, message, capsys):
    before = finished_run.config_file.read_bytes()
    error = fails(["--resume", finished_run.path, *flags], capsys)
    assert str(finished_run.path) in error
    assert message in error
    assert finished_run.config_file.read_bytes() == before
