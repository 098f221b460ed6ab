"""Pipes and devices in the place of files: whoever opens one may wait for ever."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from hslm_tf.data import DataError
from tests.fuzz.other_kinds import KINDS

# The test below has photographs; a folder of files per image is one of its other files.
NO_FILES = [
    (kind, name)
    for kind in KINDS.values()
    for name in kind.damaged
    if kind.name not in ("photographs", ".npy per image")
]


@contextmanager
def soon():
    """A pipe that nobody writes to blocks whoever opens it."""

    def late(number, frame):
        raise AssertionError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind, name", NO_FILES, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("broken", [False, True])
def test_a_pipe_or_a_broken_disk_in_the_place_of_a_file(kind, name, broken, tmp_path):
    kind.write(tmp_path)
    path = tmp_path / "data" / name
    path.unlink()
    # Whoever reads the beginning of a process's memory gets what a broken disk answers.
    path.symlink_to("/proc/self/mem") if broken else os.mkfifo(path)
    with soon(), pytest.raises((ValueError, OSError), match=Path(name).stem) as error:
        kind.read(tmp_path)
    assert "\n" not in str(error.value)


def test_a_pipe_in_the_place_of_other_files(tmp_path):
    from hslm_tf.beam.image_encoder import ImageEncoder
    from hslm_tf.images.backbones import load_backbone
    from hslm_tf.images.extraction import _decode
    from hslm_tf.images.listing import list_photographs
    from hslm_tf.images.onnx_detector import _fingerprint
    from hslm_tf.runs.checkpoints import load_whole
    from hslm_tf.runs.training_state import TrainingState

    def all_photographs(path):
        return list_photographs(path, None, "all")

    path = tmp_path / "saved_model.pb"
    os.mkfifo(path)
    with soon(), pytest.raises(DataError, match=path.name):
        ImageEncoder(str(tmp_path)).load_model()
    path = tmp_path / "best.keras"
    os.mkfifo(path)
    for read in (load_whole, TrainingState.of, all_photographs, _fingerprint):
        with soon(), pytest.raises((ValueError, OSError), match=path.name) as error:
            read(path)
        assert "\n" not in str(error.value)
    with soon(), pytest.raises(OSError, match="best.keras is a pipe"):
        load_backbone(str(path), 64)
    assert b"is a pipe" in _decode(os.fsencode(path))[1]
    with pytest.raises(DataError, match="zero is a pipe, a socket or a device, expected a file"):
        all_photographs(Path("/dev/zero"))
