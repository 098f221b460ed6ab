"""A conversion that ends, or meets another one, while its files move to their places."""

import os
import subprocess
import sys

import pytest

import hslm_tf.data.convert as convert_module
from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert
from tests.data.split_files import assert_same, captions_of, write_split, write_two_splits


@pytest.mark.parametrize("death", range(8))
def test_a_kill_while_files_move_leaves_no_mixture(tmp_path, death):
    """What loads is wholly old or wholly new, what else lies there stays, and a rerun mends it."""
    target = write_two_splits(tmp_path / "folder")
    write_split(target, "test")
    (target / "notes.md").write_text("mine")
    source = write_two_splits(tmp_path / "source")
    for split in ("train", "dev"):
        (source / f"{split}_boxes.npy").unlink()
        write_split(source, split, full=False, caps=[f"new {text}" for text in captions_of()])
    code = (
        "import os, pathlib\nfrom hslm_tf.data.convert import convert\nmoves = iter(range(99))\n"
        "def dying(call):\n"
        "    def moved(*args, **options):\n"
        f"        if next(moves) == {death}: os.kill(os.getpid(), 9)\n"
        "        return call(*args, **options)\n    return moved\n"
        "os.replace = dying(os.replace)\n"
        "pathlib.Path.unlink = dying(pathlib.Path.unlink)\n"
        f"convert({str(source)!r}, {str(target)!r}, overwrite=True, progress=False)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    for split in ("train", "dev"):
        try:
            found = load_dataset(target, split)
        except DataError as error:
            assert "did not finish: run it again" in str(error)
        else:
            assert (found.boxes is None) == found.captions[0].startswith("new")
    assert list(target.glob(".draft-*"))
    convert(source, target, overwrite=True, progress=False)
    for split in ("train", "dev"):
        found = load_dataset(target, split)
        assert found.captions[0].startswith("new") and found.boxes is None
    assert load_dataset(target, "test").captions == captions_of()
    assert (target / "notes.md").read_text() == "mine" and not list(target.glob(".draft-*"))


def test_ctrl_c_while_files_move(tmp_path, monkeypatch):
    source, target = write_split(tmp_path / "source"), write_split(tmp_path / "target", full=False)
    calls, replace = [], os.replace

    def interrupted(one, other):
        calls.append(other)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(one, other)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, overwrite=True, progress=False)
    assert_same(load_dataset(target, "train"), load_dataset(source, "train"))


def test_another_process_that_was_faster(tmp_path, monkeypatch):
    source, target = write_split(tmp_path / "source"), tmp_path / "target"
    write = convert_module.write_precomputed

    def slow(*args):
        write(*args)
        write_split(target, full=False)

    monkeypatch.setattr(convert_module, "write_precomputed", slow)
    with pytest.raises(DataError, match="train_caps.txt, .*train_ims.npy already there"):
        convert(source, target, progress=False)
    assert load_dataset(target, "train").boxes is None and not list(target.glob(".draft-*"))
