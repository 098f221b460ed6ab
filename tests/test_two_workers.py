"""Two processes that train one model, as two machines would."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hslm_tf import train
from hslm_tf.runs.devices import Devices, make_strategy
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.training_state import TrainingState
from tests.tiny_run import assert_same_training, fails, rows_of

# Dropout is drawn by each replica, so runs are compared with a single device without it. Batches of
# 16 of 60 captions leave a last one of 12.
PLAIN = "--drop-words 0 --drop-regions 0 --region-dropout 0 --feature-dropout 0".split()
PLAIN += "--word-dropout 0 --contrastive-epochs 1 --ema 0.9 --epochs 6 --quiet".split()


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def workers(flags: list[str], logs: list[Path]) -> list[subprocess.Popen]:
    """Starts the command once for every worker."""
    addresses = [f"localhost:{port}" for port in free_ports(len(logs))]
    started = []
    for index, log in enumerate(logs):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        with open(log, "w") as file:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "hslm_tf.train", *flags, "--strategy", "multiworker"],
                    env={**os.environ, "TF_CONFIG": json.dumps(task), "TF_CPP_MIN_LOG_LEVEL": "2"},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
    return started


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_two_workers_learn_what_one_device_learns_even_if_one_is_killed(
    killed, run_flags, tmp_path
):
    flags = [*run_flags, *PLAIN, "--save-every", "1"]
    alone, straight, stopped = (
        RunDirectory(tmp_path / n) for n in ("alone", "straight", "stopped")
    )
    logs = [tmp_path / "0.log", tmp_path / "1.log"]
    train.main([*flags, "--out", str(alone.path)])
    for process, log in zip(
        workers([*flags, "--out", str(straight.path)], logs), logs, strict=True
    ):
        assert process.wait(400) == 0, log.read_text()
    for one, other in zip(rows_of(alone), rows_of(straight), strict=True):
        for name in ("loss", "gradient_norm", "active_hinges", "candidate_fraction"):
            assert one[name] == pytest.approx(other[name], abs=1e-5), name

    both = workers([*flags, "--out", str(stopped.path)], logs)
    deadline = time.monotonic() + 400
    while stopped.progress["epochs"] < 2:
        assert time.monotonic() < deadline
        assert [process.poll() for process in both] == [None, None], logs[0].read_text()
        time.sleep(0.05)
    both[killed].kill()
    assert both[killed].wait(60) == -signal.SIGKILL
    assert both[1 - killed].wait(120) == 1
    said = logs[1 - killed].read_text()
    assert "error: Another worker has ended, or cannot be reached." in said
    assert f"The last good checkpoint is {stopped.last_model}, after " in said
    assert TrainingState.of(stopped.last_model).epochs < 6
    for process, log in zip(workers([*flags, "--out", str(stopped.path)], logs), logs, strict=True):
        assert process.wait(400) == 0, log.read_text()
    assert_same_training(stopped, straight)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": {"0": "a:1"}}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_what_is_no_cluster_of_workers_is_refused(config, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="--strategy multiworker needs TF_CONFIG, such as"):
        make_strategy("multiworker")


@pytest.mark.parametrize("devices", [["CPU:0", "CPU:0"], ["GPU:7"], ["CPU:0", "nonsense"]])
def test_devices_that_are_not_there_or_twice_are_refused(devices):
    with pytest.raises(ValueError, match="--devices takes some of CPU:0, each once. Received: --d"):
        make_strategy("mirrored", devices)


def test_devices_without_mirroring_are_refused(run_flags, tmp_path, capsys):
    error = fails([*run_flags, "--devices", "CPU:0", "--out", tmp_path / "run"], capsys)
    assert "--devices goes with --strategy mirrored" in error


@pytest.mark.slow
def test_one_device_is_mirrored_like_none(finished_run, run_flags, tmp_path):
    flags = ["--epochs", "1", "--strategy", "mirrored", "--devices", "CPU:0", "--quiet"]
    run = RunDirectory(tmp_path / "run")
    train.main([*run_flags, *flags, "--out", str(run.path)])
    for name in ("loss", "val_rsum"):
        assert rows_of(run)[0][name] == pytest.approx(rows_of(finished_run)[0][name], abs=1e-5)


def test_only_the_first_worker_writes(tmp_path):
    class Resolver:
        task_type, task_id = "worker", 1

        def cluster_spec(self):
            return type("Spec", (), {"jobs": ["worker"]})

    strategy = type("Strategy", (), {"cluster_resolver": Resolver(), "num_replicas_in_sync": 2})()
    run = RunDirectory(tmp_path)
    with Devices(strategy).own(run) as own:
        assert own.path != run.path
        (own.path / "log.csv").write_text("epoch")
    assert not own.path.exists() and not list(tmp_path.iterdir())
    Resolver.task_id = 0
    with Devices(strategy).own(run) as own:
        assert own is run
    Resolver.cluster_spec = lambda self: type("Spec", (), {"jobs": ["worker", "chief"]})
    assert not Devices(strategy).writes
    Resolver.task_type = "chief"
    assert Devices(strategy).writes
