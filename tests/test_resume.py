"""Runs that are killed, and go on."""

import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

from hslm_tf import train
from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.runs.checkpoints import RunCheckpoint, last_checkpoint, load_checkpoint
from hslm_tf.runs.interruption import Interruption
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split
from hslm_tf.runs.tensorboard_log import TensorBoardLog
from hslm_tf.runs.training_state import TrainingState
from hslm_tf.training.callbacks import Throughput
from tests.quick_graphs import QUICK_GRAPHS
from tests.tiny_run import LIGHT, STEPS, WHOLE, assert_same_training, fails, rows_of


def start(arguments: list, log: Path) -> subprocess.Popen:
    """Starts the command in a process of its own, which writes what it prints into a file."""
    # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
    script = QUICK_GRAPHS + (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('hslm_tf.train', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-u", "-c", script, *map(str, arguments)]
    with open(log, "w") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def wait_for(process: subprocess.Popen, log: Path, text: str) -> bool:
    """Waits until the process has printed something; False if it ended before."""
    while text not in log.read_text("utf-8", "replace"):
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def begun(run_flags, tmp_path):
    """A run that has not begun, and a command that makes what `finished_run` is."""
    run = RunDirectory(tmp_path / "run of four")
    return run, [*run_flags, "--epochs", "4", "--out", str(run.path)]


class Died(BaseException):
    """Stands for kill -9 in a test: nothing of the program catches it."""


@pytest.fixture
def ends(monkeypatch):
    """Runs the command with something replaced, which must end it."""

    def run(command, thing, name, replacement, end=Died):
        with monkeypatch.context() as patch:
            patch.setattr(thing, name, replacement)
            with pytest.raises(end) as stop:
                train.main(command)
        return stop.value

    return run


def test_one_process_at_a_time_trains_a_run(tmp_path):
    run = RunDirectory(tmp_path)
    with run.locked(), pytest.raises(BlockingIOError, match="another process trains this run"):
        with run.locked():
            pass
    with run.locked():
        pass


@pytest.mark.parametrize(
    "deaths", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_the_same_command_goes_on_wherever_saving_died(deaths, finished_run, begun, ends):
    """Death when the first, second or third file of a step's checkpoint would take its place."""
    (run, command), replace, replaced = begun, os.replace, []

    def die(source, target):
        if run.progress["epochs"] == 1 and run.progress["steps"] == 2:
            replaced.append(target.name)
            if len(replaced) >= deaths:
                raise Died
        replace(source, target)

    ends([*command, "--save-every", "1"], os, "replace", die)
    assert replaced == ["previous.keras", "last.keras", "log.csv"][:deaths]
    assert TrainingState.of(run.last_model).steps == (2 if deaths < 3 else 3)
    train.main([*command, "--save-every", "1"])
    assert_same_training(run, finished_run)
    assert not list(run.path.glob(".draft-*"))


@pytest.mark.slow
@pytest.mark.parametrize("parts", [LIGHT, WHOLE])
def test_loss_scale_average_and_schedule_go_on(parts, run_flags, tmp_path, ends):
    """In float16, with one loss after another; training dies after step 2 of the second epoch."""
    flags = [*run_flags, *parts, *"--precision mixed_float16 --ema 0.8 --schedule cosine".split()]
    flags += "--warmup-steps 2 --random-epochs 0 --growing-epochs 0 --epochs 3".split()
    flags += "--contrastive-epochs 2 --weight-decay 0.01 --save-every 1".split()
    straight, died = (RunDirectory(tmp_path / name) for name in ("straight", "died"))
    train.main([*flags, "--out", str(straight.path)])
    save = RunCheckpoint.save

    def die(self):
        save(self)
        if (self.state.epochs, self.state.steps) == (1, 2):
            raise Died

    command = [*flags, "--out", str(died.path)]
    ends(command, RunCheckpoint, "save", die)
    train.main(command)
    assert_same_training(died, straight)
    last = keras.saving.load_model(died.last_model)
    assert last.optimizer.inner_optimizer.use_ema
    assert float(last.optimizer.dynamic_scale) > 0 and int(last.optimizer.iterations) > 0
    # The average was measured and is what is kept as the best.
    best, dev = keras.saving.load_model(died.best_model), load_split(died.config(), "dev")
    assert evaluate(best, dev).rsum == pytest.approx(died.progress["best_rsum"])


def test_a_fallback_never_loses_the_good_checkpoint(run, finished_run, ends):
    run.last_model.write_bytes(run.last_model.read_bytes()[:-100])
    command, replace = ["--resume", str(run.path)], os.replace

    def die(source, target):
        if target == run.last_model:
            raise Died
        replace(source, target)

    ends(command, os, "replace", die)
    assert (run.path / "damaged.keras").exists()
    assert last_checkpoint(run).endswith(f"{run.previous_model}, after 3 complete epochs")
    train.main(command)
    assert_same_training(run, finished_run)


def test_a_second_signal_stops_at_once_and_saves_nothing():
    interruption = Interruption()
    interrupted = interruption.at_once(lambda: os.kill(os.getpid(), signal.SIGINT))
    handler = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt), interruption:
            with pytest.raises(KeyboardInterrupt):
                interrupted()
            assert interruption.stopped
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert not interruption.stopped
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("goes_on", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_full_disk_names_the_checkpoint_and_leaves_the_run_as_it_was(
    goes_on, finished_run, begun, ends
):
    (run, command), add_to = begun, TrainingState.add_to

    def full(state, checkpoint):
        if state.epochs == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add_to(state, checkpoint)

    error = ends(command, TrainingState, "add_to", full, SystemExit).code
    assert error.startswith("error: ") and "\n" not in error
    assert f"No space left on device: '{run.last_model}'" in error
    assert len(rows_of(run)) == run.progress["epochs"] == TrainingState.of(run.last_model).epochs
    assert run.progress["epochs"] == 2 and not list(run.path.glob(".draft-*"))
    if goes_on:
        train.main(command)
        assert_same_training(run, finished_run)


@pytest.mark.parametrize(
    "stop, status, said",
    [pytest.param("SIGINT", 130, "", marks=pytest.mark.slow), ("SIGTERM", 143, "Terminated")],
)
def test_a_signal_saves_the_step_first(stop, status, said, finished_run, begun, tmp_path):
    (run, command), log = begun, tmp_path / "log.txt"
    process = start(command, log)
    assert wait_for(process, log, "Epoch 3/4")
    process.send_signal(getattr(signal, stop))
    assert process.wait(300) == status, log.read_text()
    printed = log.read_text()
    assert re.search(r"Interrupted after [23] complete epochs( and [1-4] steps?)?\. Cont", printed)
    assert f"python -m hslm_tf.train --resume '{run.path}'" in printed
    assert said in printed
    saved = TrainingState.of(run.last_model)
    assert saved.progress == run.progress
    assert (saved.epochs, saved.steps) >= (2, 1)

    train.main(["--resume", str(run.path)])
    assert run.config() == finished_run.config()
    assert_same_training(run, finished_run)


def test_ctrl_c_before_the_first_step_leaves_a_run_that_starts_again(begun, ends, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    run, command = begun
    assert ends(command, Throughput, "on_epoch_begin", interrupt, SystemExit).code == 130
    assert "Interrupted after 0 complete epochs" in capsys.readouterr().out
    assert load_checkpoint(run) is None


@pytest.mark.slow
def test_a_signal_during_validation_keeps_the_epochs_steps(finished_run, begun, ends):
    (run, command), measure = begun, TensorBoardLog.measure

    def told_to_end(self, model):
        if self.run.progress["epochs"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return measure(self, model)

    assert ends(command, TensorBoardLog, "measure", told_to_end, SystemExit).code == 143
    assert (run.progress["epochs"], run.progress["steps"]) == (2, STEPS)
    train.main(command)
    assert_same_training(run, finished_run)


@pytest.mark.slow
def test_a_run_that_is_killed_at_25_random_moments(run_flags, tmp_path):
    """A checkpoint after every step."""
    flags = [*run_flags, *"--ema 0.9 --epochs 60 --save-every 1".split()]
    flags += "--random-epochs 20 --growing-epochs 20".split()
    straight, killed = (RunDirectory(tmp_path / name) for name in ("straight", "killed"))
    train.main([*flags, "--out", str(straight.path)])
    rng, kills, half_written, log = random.Random(0), [], 0, tmp_path / "log.txt"
    while True:
        process = start([*flags, "--out", killed.path], log)
        if len(kills) < 25 and wait_for(process, log, "First step after"):
            time.sleep(rng.uniform(0, 1.0))
            process.kill()
        if process.wait(300) == 0:
            break
        assert process.returncode == -signal.SIGKILL, log.read_text()
        kills.append((killed.progress["epochs"], killed.progress["steps"]))
        half_written += any(killed.path.glob(".draft-*"))
    print(f"{len(kills)} kills at {kills}, {half_written} while a file was written")
    assert len(kills) >= 25 and len(set(kills)) > 20 and half_written > 0
    assert_same_training(killed, straight)


@pytest.mark.parametrize(
    "flags, message",
    [
        *(
            (flags.split(), "only --epochs may be given beside --resume")
            for flags in ("--learning-rate 0.5", "--mgcn --epochs 6", "--preset sample", "--out a")
        ),
        (["--epochs", "3"], "has 4 complete epochs, more than the 3 asked for"),
    ],
)
def test_resume_refuses_another_run(finished_run, flags, message, capsys):
    before = finished_run.config_file.read_bytes()
    error = fails(["--resume", finished_run.path, *flags], capsys)
    assert str(finished_run.path) in error and message in error
    assert finished_run.config_file.read_bytes() == before
