import os
import pathlib
import re
import subprocess
import sys
import unicodedata
from importlib import resources

import pytest
import tensorflow as tf
from nltk import word_tokenize

from hslm_tf.serving.graph_ops import LONG_STANDING
from hslm_tf.text.normalization import normalize
from hslm_tf.text.tokenization import tokenize
from tests.text.hard_sentences import hard_sentences, random_strings

TYPOGRAPHIC = str.maketrans(
    dict.fromkeys("ʼ‘’‚‛′‹›", "'")
    | dict.fromkeys("«»“”„‟", '"')
    | dict.fromkeys("‐‑‒–−", "-")
    | dict.fromkeys("—―", " - ")
    | dict.fromkeys("⁄∕", "/")
)
SAMPLE = resources.files("hslm_tf") / "data" / "sample"


def in_graph(captions: list[str]) -> list[list[str]]:
    rows = tokenize(tf.constant(captions, tf.string)).to_list()
    return [[word.decode() for word in row] for row in rows]


def plain(caption: str) -> str:
    """The same normalization, by Python's Unicode tables."""
    seen = "".join(
        character
        for character in caption.replace("\xb4", "'").replace("″", '"')
        if unicodedata.category(character) != "Cf"
        and not re.match("[\u034f\ufe00-\ufe0f\ufdd0-\ufdd2]", character)
    )
    return unicodedata.normalize("NFKC", seen).translate(TYPOGRAPHIC)


def by_nltk(captions: list[str]) -> list[list[str]]:
    return [word_tokenize(plain(caption).lower(), preserve_line=True) for caption in captions]


def agreement(
    name: str, captions: list[str], capsys: pytest.CaptureFixture[str]
) -> tuple[float, float]:
    """Prints and returns the rates: of all captions, and of those that white space splits wrong."""
    rows = list(zip(captions, in_graph(captions), by_nltk(captions), strict=True))
    hard = [row for row in rows if row[0].lower().split() != row[2]]
    misses = [row for row in rows if row[1] != row[2]]
    hard_misses = [row for row in hard if row[1] != row[2]]
    assert hard
    with capsys.disabled():
        print(
            f"\n{name}: {len(rows) - len(misses)} of {len(rows)} as NLTK; where white space "
            f"splitting differs, {len(hard) - len(hard_misses)} of {len(hard)}"
        )
        for caption, words, expected in misses:
            print(f"  {caption!r}\n    found    {words}\n    expected {expected}")
    return 1 - len(misses) / len(rows), 1 - len(hard_misses) / len(hard)


def lines(path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def real_captions(name: str) -> list[str]:
    if name == "built-in sample":
        return lines(SAMPLE / "train_caps.txt")
    if "HSLM_TF_DATA" not in os.environ:
        pytest.skip("HSLM_TF_DATA is not set")
    folder = pathlib.Path(os.environ["HSLM_TF_DATA"], "flickr8k")
    return lines(folder / "train_caps.txt") + lines(folder / "dev_caps.txt")


@pytest.mark.parametrize("name", ["built-in sample", "Flickr8k captions"])
def test_real_captions_agree_with_nltk(name, capsys):
    rate, hard_rate = agreement(name, real_captions(name), capsys)
    assert rate >= 0.9998
    assert hard_rate >= 0.95


def test_hard_sentences_agree_with_nltk(capsys):
    sentences = sorted(set(hard_sentences(4000)))
    assert len(sentences) > 3500
    assert agreement("hard sentences", sentences, capsys)[0] >= 0.99


def test_random_strings_agree_with_nltk(capsys):
    assert agreement("random strings", random_strings(10000), capsys)[0] >= 0.99


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog can't run.", "a dog ca n't run ."),
        ('She said "Hi."', "she said `` hi . ''"),
        ("Dr. Smith's $5,000 cannot", "dr. smith 's $ 5,000 can not"),
        ("the boys' rock 'n' roll", "the boys ' rock 'n ' roll"),
        ("first one. Second one.", "first one. second one ."),
        ("ΟΔΟΣ É", "οδος é"),
        ("I WANNA go, wanna-be.", "i wan na go , wanna-be ."),
    ],
)
def test_known_captions(caption, words):
    assert in_graph([caption]) == [words.split(" ")]


@pytest.mark.parametrize(
    ("typed", "plain_text"),
    [
        ("it’s a dog ‘that’ won´t ʼbark‛", "it's a dog 'that' won't 'bark'"),
        ("“dogs” «dogs» „dogs‟ ″dogs″", '"dogs" "dogs" "dogs" "dogs"'),
        ("a dog — a cat, a man―smiling", "a dog - a cat, a man - smiling"),
        ("t‐shirt t‑shirt, 10–12 men, −5", "t-shirt t-shirt, 10-12 men, -5"),
        ("a\u200b dog\ufeff run\u00adning\u2060 fast\u200d\ufe0f", "a dog running fast"),
        ("a\u00a0dog\u2009runs\u3000fast", "a dog runs fast"),
        ("cafe\u0301 ＤＯＧ ﬁne… ½ Å", "café dog fine... 1/2 å"),
        ("e\u0323\u0302 e\u0302\u0323 \u00ea\u0323 \u1eb9\u0302", "ệ ệ ệ ệ"),
        ("\ufdd0a\ufdd1 dog\ufdd2", "a dog"),
    ],
)
def test_text_that_looks_alike_has_the_same_words(typed, plain_text):
    assert in_graph([typed]) == in_graph([plain_text]) == by_nltk([typed])


def test_every_character_and_its_decompositions_get_their_nfkc_form():
    alone = [
        chr(code)
        for code in range(sys.maxunicode)
        if unicodedata.category(chr(code)) not in ("Cf", "Cn", "Co", "Cs")
    ]
    # Hangul in single letters is the exception that the module names.
    decomposed = {
        text
        for character in alone
        for form in ("NFD", "NFKD")
        if not re.search("[\u1100-\u11ff]", text := unicodedata.normalize(form, character))
    }
    texts = [*alone, *sorted(decomposed)]
    found = [text.decode() for text in normalize(tf.constant(texts)).numpy()]
    assert [pair for pair in zip(found, map(plain, texts), strict=True) if len(set(pair)) > 1] == []


def test_empty_captions_are_empty_rows():
    assert in_graph(["", " \t\u3000\n", "dog"]) == [[], [], ["dog"]]
    assert in_graph([]) == []


def test_bytes_that_are_not_utf8_become_replacement_characters():
    assert tokenize(tf.constant([b"A \xff dog"])).to_list() == [[b"a", "\ufffd".encode(), b"dog"]]


def test_lower_case_does_not_follow_the_locale():
    code = (
        "from hslm_tf.text.tokenization import tokenize; "
        "assert tokenize(['TIGER I']).to_list() == [[b'tiger', b'i']]"
    )
    environment = os.environ | {"LC_ALL": "tr_TR.UTF-8"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_in_a_function_with_an_unknown_number_of_captions():
    traced = tf.function(tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    assert traced(tf.constant(["Two dogs.", "A"])).to_list() == [[b"two", b"dogs", b"."], [b"a"]]
    assert traced(tf.constant([], tf.string)).to_list() == []


def test_only_operations_of_the_core_that_every_server_has():
    traced = tf.function(tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
    definition = traced.get_concrete_function().graph.as_graph_def()
    functions = [function.node_def for function in definition.library.function]
    operations = {node.op for nodes in [definition.node, *functions] for node in nodes}
    assert operations <= LONG_STANDING
    strings = {
        operation for operation in operations if "String" in operation or "Regex" in operation
    }
    assert strings == {
        "StringJoin",
        "StringLower",
        "StringSplitV2",
        "StringToHashBucketFast",
        "StaticRegexReplace",
    }


def test_a_matrix_of_captions_is_refused():
    with pytest.raises(ValueError, match=r"vector of strings. Received: captions.shape=\(1, 1\)"):
        tokenize(tf.constant([["a"]]))
