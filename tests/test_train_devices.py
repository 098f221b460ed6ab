"""`python -m hslm_tf.train --devices`: the command on two devices does what it does on one."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from hslm_tf.runs.run_directory import RunDirectory
from tests.quick_graphs import QUICK_GRAPHS
from tests.tiny_run import LIGHT, SIZES, rows_of, write_dataset

# Two logical devices of the one CPU; they must be made before TensorFlow uses it.
TWO_DEVICES = QUICK_GRAPHS + (
    "one = tf.config.LogicalDeviceConfiguration(); "
    "tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0], [one, "
    "one]); import sys; from hslm_tf import train; train.main(sys.argv[1:])"
)
NOTHING_DROPPED = "--word-dropout 0 --region-dropout 0 --feature-dropout 0 --drop-regions 0"


def test_two_devices_learn_what_one_learns_and_go_on(tmp_path):
    data = write_dataset(tmp_path / "data")
    flags = [*SIZES, *LIGHT, *NOTHING_DROPPED.split(), "--drop-words", "0"]
    flags += ["--dataset", data, "--word-vectors", "None", "--validate-every", "1"]
    # The loss on scores shares each device's part of the matrix.
    flags += ["--contrastive-on", "score"]

    def trained(name, *more):
        run = RunDirectory(tmp_path / name)
        command = [sys.executable, "-c", TWO_DEVICES, *flags, "--out", run.path, *more]
        subprocess.run(
            list(map(str, command)), check=True, capture_output=True, cwd=Path(__file__).parents[1]
        )
        return rows_of(run)

    one = trained("one", "--epochs", "2")
    devices = ["--devices", "CPU:0", "CPU:1"]
    two = trained("two", "--epochs", "2", *devices)
    assert len(one) == len(two) == 2
    for name in ("loss", "val_rsum"):
        np.testing.assert_allclose(
            [row[name] for row in two], [row[name] for row in one], rtol=1e-4
        )
    resumed = subprocess.run(
        [
            sys.executable,
            "-c",
            TWO_DEVICES,
            "--resume",
            tmp_path / "two",
            "--epochs",
            "3",
        ]
        + devices,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert resumed.returncode == 0 and "goes on with" not in resumed.stderr
    assert len(rows_of(RunDirectory(tmp_path / "two"))) == 3
