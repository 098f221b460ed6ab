from pathlib import Path

import numpy as np
import pytest

from hslm_tf.text.token_cache import cache_folder, cached_tokens
from hslm_tf.text.tokenizer import CaptionTokenizer
from hslm_tf.text.vocabulary import SPECIAL_WORDS

WORDS = (*SPECIAL_WORDS, "a", "dog", "runs", ".")
CAPTIONS = ["A dog runs.", "a CAT", "a a a a a a"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HSLM_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class CountingTokenizer(CaptionTokenizer):
    calls = 0

    def tokenize_all(self, captions):
        self.calls += 1
        return super().tokenize_all(captions)


def tokens_of(tokenizer, words=WORDS, captions=CAPTIONS):
    tokens = cached_tokens(tokenizer, words, captions)
    assert tokens.ids.dtype == np.int32
    rows = [part.tolist() for part in np.split(tokens.ids, tokens.offsets[1:-1])]
    return rows, tokens.num_truncated


def test_captions_are_tokenized_once(folder):
    tokenizer = CountingTokenizer(WORDS, max_tokens=6)
    expected = ([[1, 4, 5, 6, 7, 2], [1, 4, 3, 2], [1, 4, 4, 4, 4, 2]], 1)
    for _ in range(3):
        assert tokens_of(tokenizer) == expected
    assert tokenizer.calls == 1
    assert len(list(folder.iterdir())) == 1


def test_whatever_changes_the_ids_is_another_file(folder):
    tokens_of(CaptionTokenizer(WORDS))
    tokens_of(CaptionTokenizer(WORDS, max_tokens=5))
    tokens_of(CaptionTokenizer(WORDS), captions=CAPTIONS[::-1])
    fewer = (*SPECIAL_WORDS, "dog")
    rows, _ = tokens_of(CaptionTokenizer(fewer), words=fewer)
    assert rows[0] == [1, 3, 4, 3, 3, 2]
    assert len(list(folder.iterdir())) == 4


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))


def pickled(path):
    np.savez(path, ids=np.array([{}]), offsets=np.zeros(4, np.int64), num_truncated=0)


def other_captions(path):
    offsets = np.array([0, 1, 1, 3], np.int64)
    np.savez(path, ids=np.zeros(4, np.int32), offsets=offsets, num_truncated=0)


@pytest.mark.parametrize("damage", [empty, cut, flip, pickled, other_captions])
def test_a_broken_cache_is_made_again(damage, folder, caplog):
    tokenizer = CountingTokenizer(WORDS)
    expected = tokens_of(tokenizer)
    [path] = folder.iterdir()
    damage(path)
    with caplog.at_level("INFO", "hslm_tf"):
        assert tokens_of(tokenizer) == expected
        assert tokens_of(tokenizer) == expected
    assert tokenizer.calls == 2
    [message] = caplog.messages
    assert message.startswith(f"{path} is no cache of tokens")


def test_a_folder_that_cannot_be_written_does_no_harm(folder, monkeypatch, caplog):
    folder.write_text("a file stands where the folder should be")
    with caplog.at_level("INFO", "hslm_tf"):
        rows, _ = tokens_of(CaptionTokenizer(WORDS))
    assert rows[1] == [1, 4, 3, 2]
    assert "Tokens are not cached: " in caplog.text


def test_an_interrupted_write_leaves_nothing(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    tokens_of(CaptionTokenizer(WORDS))
    assert not list(folder.iterdir())


def test_folder(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HSLM_TF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/hslm_tf")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert cache_folder() == Path("/home/user/.cache/hslm_tf")
