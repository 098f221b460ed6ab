"""`python -m hslm_tf.extract`, killed and continued, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hslm_tf import extract
from tests.images.pictures import write
from tests.tiny_run import fails

PHOTOGRAPHS = 400


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(PHOTOGRAPHS):
        write(folder / f"{seed:03d}.jpg", seed)
    (folder / "bad.jpg").write_bytes(b"no photograph")
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network that takes long enough to be killed."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(64, 8, strides=4, activation="relu", padding="same")(x)
    x = keras.layers.Conv2D(64, 7, strides=4, activation="relu", padding="same")(x)
    path = tmp_path_factory.mktemp("network") / "slow.keras"
    keras.Model(inputs, x).save(path)
    return path


def arguments(photographs, network, out):
    return [str(photographs), "--out", str(out), "--backbone", str(network), "--size", "224"]


def test_killed_and_continued(photographs, network, tmp_path, capsys):
    command = arguments(photographs, network, tmp_path / "killed")
    process = subprocess.Popen(
        [sys.executable, "-m", "hslm_tf.extract", *command],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = tmp_path / "killed/.partial-test/state.json"
    while not state.exists():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = json.loads(state.read_text())["photographs"]
    assert 0 < done < PHOTOGRAPHS
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [".partial-test"]
    extract.main(command)
    extract.main(arguments(photographs, network, tmp_path / "straight"))
    printed = capsys.readouterr().out
    assert printed.count(f"test: {PHOTOGRAPHS} images, 1 skipped") == 2
    killed, straight = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("killed", "straight")
    )
    assert killed == straight
    assert np.load(tmp_path / "killed/test_ims.npy").shape == (PHOTOGRAPHS, 30, 64)


@pytest.mark.parametrize(
    "flags, error",
    [
        (["--backbone", "EfficientNetV2B9"], "'EfficientNetV2B9' is no"),
        (["--size", "8"], "size is at least 32"),
        (["--boxes", "none.json"], "none.json"),
        (["--boxes", "none.onnx"], "none.onnx"),
        (["--images", "."], "is a folder of photographs already"),
        (["--splits", "train"], "has no split 'train'; it has test"),
        (["--captions-per-image", "-1"], "captions_per_image must be at least 0"),
    ],
)
def test_extract_refuses(photographs, network, tmp_path, capsys, flags, error):
    out = tmp_path / "out"
    assert error in fails([*arguments(photographs, network, out), *flags], capsys, extract)
    assert not out.exists()


def test_what_is_wrong_is_told_before_a_network_is_opened(tmp_path, capsys, monkeypatch):
    from hslm_tf.images import extractor

    monkeypatch.setattr(extractor, "load_backbone", lambda *args: pytest.fail("opened"))
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\n")
    out = ["--out", tmp_path / "out"]
    message = fails([tmp_path / "list.txt", *out], capsys, extract)
    assert f"none of the 2 photographs that {tmp_path}/list.txt names is there, such as" in message
    write(tmp_path / "b.jpg")
    boxes = ["--boxes", "none.json"]
    assert "none.json" in fails([tmp_path / "list.txt", *out, *boxes], capsys, extract)
