from pathlib import Path

import numpy as np
import pytest

from hslm_tf.text.split_captions import cache_folder, cached_split, split_captions
from tests.mutants import mutants

CAPTIONS = ["A dog runs.", "a CAT", "a a a a a a", ""]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HSLM_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def calls(monkeypatch):
    """Captions that were split, call by call."""
    calls = []

    def counting(captions):
        calls.append(captions)
        return split_captions(captions)

    monkeypatch.setattr("hslm_tf.text.split_captions.split_captions", counting)
    return calls


def words_of(captions=CAPTIONS):
    split = cached_split(captions)
    assert (split.places.dtype, split.offsets.dtype) == (np.int32, np.int64)
    rows = np.split(split.places, split.offsets[1:-1])
    return [[split.words[place] for place in row] for row in rows]


def test_captions_are_split_once(folder, calls):
    for _ in range(3):
        assert words_of() == [["a", "dog", "runs", "."], ["a", "cat"], ["a"] * 6, []]
    assert len(calls) == 1
    assert len(list(folder.iterdir())) == 1


def test_other_captions_are_another_file(folder):
    words_of()
    assert words_of(CAPTIONS[::-1])[1:] == [["a"] * 6, ["a", "cat"], ["a", "dog", "runs", "."]]
    assert words_of([""]) == [[]]
    assert len(list(folder.iterdir())) == 3


def pickled(path):
    np.savez(path, words=np.array([{}]), places=np.zeros(1, np.int32), offsets=np.zeros(5, int))


def rewritten(**changes):
    def damage(path):
        with np.load(path) as arrays:
            kept = dict(arrays)
        np.savez(path, **{**kept, **changes})

    return damage


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "pickled": pickled,
    "other captions": rewritten(offsets=np.array([0, 4, 6, 12], np.int64)),
    "falling offsets": rewritten(offsets=np.array([0, 4, 3, 12, 12], np.int64)),
    "fewer words": rewritten(words=np.frombuffer(b"a\ndog", np.uint8)),
    "words of another type": rewritten(words=np.zeros(3)),
    "no UTF-8": rewritten(words=np.full(9, 255, np.uint8)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_broken_cache_is_made_again(damage, folder, calls, caplog):
    expected = words_of()
    [path] = folder.iterdir()
    damage(path)
    with caplog.at_level("INFO", "hslm_tf"):
        assert words_of() == expected
        assert words_of() == expected
    assert len(calls) == 2
    [message] = caplog.messages
    assert message.startswith(f"{path} is no cache of captions")


def test_a_folder_that_cannot_be_written_does_no_harm(folder, monkeypatch, caplog):
    folder.write_text("a file stands where the folder should be")
    with caplog.at_level("INFO", "hslm_tf"):
        assert words_of()[1] == ["a", "cat"]
    assert "Captions are not cached: " in caplog.text


def test_an_interrupted_write_leaves_nothing(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    words_of()
    assert not list(folder.iterdir())


def test_folder(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HSLM_TF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/hslm_tf")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert cache_folder() == Path("/home/user/.cache/hslm_tf")


def test_mutants_are_made_again(folder):
    expected = words_of()
    [path] = folder.iterdir()
    for mutant in mutants(path.read_bytes(), 300):
        path.write_bytes(mutant)
        assert words_of() == expected
