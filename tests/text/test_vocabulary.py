import json
import os
import pathlib
import pickle
import shlex
import subprocess
import sys

import pytest

from hslm_tf.text.vocabulary import SPECIAL_WORDS, Vocabulary

REAL = pytest.mark.skipif("HSLM_TF_DATA" not in os.environ, reason="HSLM_TF_DATA is not set")


def content(*words: str) -> dict:
    words = (*SPECIAL_WORDS, *words)
    return {
        "idx2word": {str(index): word for index, word in enumerate(words)},
        "word2idx": {word: index for index, word in enumerate(words)},
        "idx": len(words),
    }


def changed(**changes: dict) -> str:
    """A vocabulary with `dog` 4 and `cat` 5, some entries changed; None removes one."""
    vocabulary = content("dog", "cat")
    for key, change in changes.items():
        if isinstance(change, dict):
            entries = vocabulary[key] | change
            vocabulary[key] = {k: entry for k, entry in entries.items() if entry is not None}
        else:
            vocabulary[key] = change
    return json.dumps({key: value for key, value in vocabulary.items() if value is not None})


@REAL
@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("f30k", 8481, {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "raining": 4}),
        ("coco", 11353, {"<pad>": 0, "<unk>": 3, "wrought-iron": 4, "pate": 11351}),
    ],
)
def test_released_vocabularies_keep_every_id(name, size, words, tmp_path):
    path = pathlib.Path(os.environ["HSLM_TF_DATA"], "vocab", f"{name}_precomp_vocab.json")
    released = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = Vocabulary.load(path)
    assert len(vocabulary) == len(vocabulary.words) == size
    assert {word: vocabulary.id_of(word) for word in words} == words
    assert {word: vocabulary.id_of(word) for word in released["word2idx"]} == released["word2idx"]
    vocabulary.save(tmp_path / "saved.json")
    assert json.loads((tmp_path / "saved.json").read_text(encoding="utf-8")) == released


def test_words_by_count_then_alphabet():
    counts = {"b": 2, "rare": 1, "a": 2, "c": 3, "<unk>": 2}
    vocabulary = Vocabulary.build(counts, min_count=2)
    assert vocabulary.words == (*SPECIAL_WORDS, "c", "a", "b")
    assert Vocabulary.build(dict(reversed(counts.items())), min_count=2).words == vocabulary.words
    assert Vocabulary.build({"dog": 4, "cat": 3}).words == (*SPECIAL_WORDS, "dog")


def test_unknown_words_are_unk():
    vocabulary = Vocabulary([*SPECIAL_WORDS, "dog"])
    assert [vocabulary.id_of(word) for word in ("dog", "cat", "<pad>")] == [4, 3, 0]


def test_save_and_load(tmp_path):
    vocabulary = Vocabulary([*SPECIAL_WORDS, "naïve", "``", '"', "犬"])
    vocabulary.save(tmp_path / "vocab.json")
    assert Vocabulary.load(tmp_path / "vocab.json").words == vocabulary.words
    assert json.loads((tmp_path / "vocab.json").read_text()) == content("naïve", "``", '"', "犬")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"idx": 4,', "line 1, column 11: .*expected JSON"),
        ('{"idx": 4, "idx": 5}', "key 'idx' occurs 2 times, expected once"),
        ("[]", "found list, expected an object with word2idx, idx2word, idx"),
        (changed(word2idx=None), r"found the keys \['idx', 'idx2word'\], expected 'word2idx'"),
        (changed(idx=None), "expected 'idx' among them"),
        (changed(idx="6"), "'idx' is str, expected int"),
        (changed(idx2word=["<pad>"]), "'idx2word' is list, expected dict"),
        (changed(word2idx={"cat": 5.0}), r"word2idx\['cat'\] is 5.0, expected an integer id"),
        (changed(word2idx={"cat": 4}), "gives id 4 to 'dog' and 'cat', expected one word"),
        (changed(word2idx={"cat": 7}), "no word with id 5, expected ids 0 to 5 without gaps"),
        (changed(idx2word={"5": "cow"}), r"idx2word\['5'\] is 'cow', expected 'cat'"),
        (changed(idx2word={"5": None}), r"idx2word\['5'\] is None, expected 'cat'"),
        (changed(idx2word={"6": "cow"}), "idx2word counts 7 words, expected 6"),
        (changed(idx=7), "idx counts 7 words, expected 6"),
        (
            changed(word2idx={"<unk>": None, "UNK": 3}, idx2word={"3": "UNK"}),
            r"Ids 0 to 3 must be <pad>, <start>, <end>, <unk>. Received: .*'UNK'",
        ),
        (
            changed(word2idx={"cat": None, "": 5}, idx2word={"5": ""}),
            "A word must be a non-empty string. Received: id 5=''",
        ),
    ],
)
def test_errors_name_the_file_and_what_was_expected(text, message, tmp_path):
    path = tmp_path / "vocab.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"vocab\.json is not a vocabulary: .*{message}"):
        Vocabulary.load(path)


def test_a_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "vocab.json"
    path.write_bytes(b'{"\xff": 1}')
    with pytest.raises(ValueError, match="vocab.json is not a vocabulary: 'utf-8' codec"):
        Vocabulary.load(path)


def released_class(module: str, words: dict) -> object:
    """What SCAN pickles: an object of a class `Vocabulary` that this package does not have."""
    released = type("Vocabulary", (), {"__module__": module})
    sys.modules[module].Vocabulary = released
    vocabulary = released()
    vocabulary.__dict__ |= words
    return vocabulary


def assert_converted_by_the_command_named(path: pathlib.Path, words: tuple[str, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"is not a vocabulary: it is a pickle, which is ne"
    ) as error:
        Vocabulary.load(path)
    message = str(error.value)
    assert message.startswith(str(path)) and "can run any code" in message
    command = shlex.split(message.partition("JSON of it: ")[2])
    subprocess.run([sys.executable, *command[1:]], check=True, cwd=path.parent)
    assert Vocabulary.load(command[-1]).words == words


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("module", ["__main__", "vocab", None])
def test_pickles_are_named_and_never_opened(protocol, module, tmp_path, monkeypatch):
    words = content("dog", "café")
    words["idx2word"] = dict(enumerate(words["word2idx"]))
    if module:
        monkeypatch.setitem(sys.modules, "vocab", type(sys)("vocab"))
        monkeypatch.setattr(sys.modules["__main__"], "Vocabulary", None, raising=False)
        words = released_class(module, words)
    path = tmp_path / "it's a vocab.pkl"
    path.write_bytes(pickle.dumps(words, protocol))
    assert_converted_by_the_command_named(path, (*SPECIAL_WORDS, "dog", "café"))


PYTHON_2 = b"""(i__main__
Vocabulary
p0
(dp1
S'word2idx'
p2
(dp3
S'<pad>'
I0
sS'<start>'
I1
sS'<end>'
I2
sS'<unk>'
I3
sS'caf\\xc3\\xa9'
I4
ssS'idx2word'
(dI0
S'<pad>'
sI1
S'<start>'
sI2
S'<end>'
sI3
S'<unk>'
sI4
S'caf\\xc3\\xa9'
ssS'idx'
I5
sb."""


def test_pickle_of_python_2(tmp_path):
    path = tmp_path / "f30k_precomp_vocab.pkl"
    path.write_bytes(PYTHON_2)
    assert_converted_by_the_command_named(path, (*SPECIAL_WORDS, "café"))


def test_code_in_a_pickle_does_not_run(tmp_path):
    path = tmp_path / "vocab.pkl"
    for code in (b"cos\nmkdir\n(S'made'\ntR.", b"\x80\x02cos\nmkdir\nX\x04\0\0\0made\x85R."):
        path.write_bytes(code)
        with pytest.raises(ValueError, match="it is a pickle"):
            Vocabulary.load(path)
    assert not pathlib.Path("made").exists()


@pytest.mark.parametrize("text", ["", "cats are nice.", "(dog).", "cat\ndog\nparrot."])
def test_other_text_is_no_pickle(text, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="line 1, column 1: .*expected JSON"):
        Vocabulary.load(path)


def test_a_word_with_two_ids_is_refused():
    with pytest.raises(ValueError, match="Received: word='dog' with ids 4 and 5"):
        Vocabulary([*SPECIAL_WORDS, "dog", "dog"])


def test_tensorflow_is_not_imported():
    code = "import sys, hslm_tf.text; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
