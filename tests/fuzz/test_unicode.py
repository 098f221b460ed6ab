"""Any Unicode string: tokenised, scored, written and read again, or refused by one clear error."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert
from hslm_tf.data.text_lines import TOKEN_LINE, read_lines, write_lines
from hslm_tf.text.split_captions import split_captions
from hslm_tf.text.tokenization import tokenize
from hslm_tf.text.vocabulary import Vocabulary
from tests.data.split_files import write_split
from tests.tiny_collection import make_model
from tests.tiny_model import WORDS, random_images

# The same examples every time, however slow the machine, and nothing kept between runs.
SETTINGS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
HARD = (
    "",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\ufdd0\ufdd1\ufdd2\uffff\U0010ffff",
    "\x1b[2J\x07\x85\u2028\u2029",
    "\u202e\u05d0\u05d1\u05d2 abc \u0627\u0644\u0639\u0631\u0628\u064a\u0629\u202c",
    "e\u0301" * 50 + "\u0338" * 500,
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f1e9\U0001f1ea",
    "\ufeff\u200b\u2060\u00ad",
    "<pad> <start> <end> <unk>",
    "İıẞßſK",
    "'" * 1000,
    '"' * 999 + "`" * 999,
)
LONG = ("a" * 100_000, "a " * 50_000, "\U0001f600" * 25_000, "'\"`.,[](){}<>--" * 7_000)

# Lone surrogates, control characters and all others; and texts of what the rules look for.
ANY = st.text(st.characters(), max_size=60)
PIECES = st.lists(
    st.sampled_from(
        [*HARD[:14], *"'\"`.,:;@#$%&?!()[]{}<>-*", "n't", "'s", "cannot", " ", "a dog"]
    ),
    max_size=15,
).map("".join)
TEXTS = st.one_of(ANY, PIECES)
# What a file of one text a line can hold.
LINE = (
    st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=30)
    .map(lambda text: text.strip().lstrip("\ufeff").strip())
    .filter(bool)
)
SIX = {"min_size": 6, "max_size": 6}


def encoded(texts):
    """Bytes; lone surrogates are no UTF-8 and become bytes that are none."""
    return [text.encode("utf-8", "surrogatepass") for text in texts]


def all_examples(test):
    for text in (*HARD, *LONG):
        test = example(text=text)(test)
    return test


@SETTINGS
@all_examples
@given(text=TEXTS)
def test_any_string_is_split_into_words(text):
    (words,) = tokenize(tf.constant(encoded([text]))).to_list()
    for word in words:
        assert word.decode("utf-8"), "a word is text, and not empty"
        assert not set(word.decode()) & set(" \t\n\r\x0b\x0c"), "a word has no white space"
    # The same words, however many captions are split at once, and in front of or behind others.
    together = tokenize(tf.constant(encoded(["a dog", text, ""]))).to_list()
    assert together == [[b"a", b"dog"], words, []]


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def images():
    regions, mask = random_images(2)
    return regions.astype(np.float32), mask


@SETTINGS
@given(texts=st.lists(TEXTS, min_size=1, max_size=6))
@example(texts=list(HARD))
@example(texts=list(LONG))
def test_any_string_is_scored(texts, model, images):
    regions, mask = images
    scores = np.asarray(model.score(regions, encoded(texts), mask, matrix=True))
    assert scores.shape == (2, len(texts)) and np.isfinite(scores).all()
    tokens = model.tokenizer.tokenize_all(texts)
    assert (np.diff(tokens.offsets) >= 2).all()
    assert tokens.ids.min() >= 1 and tokens.ids.max() < len(WORDS)


@SETTINGS
@given(text=TEXTS)
@example(text="\ud800")
def test_a_string_scores_as_its_bytes(text, model, images):
    regions, mask = (part[[0, 0]] for part in images)
    score, of_bytes = np.asarray(model.score(regions, [text, *encoded([text])], mask))
    assert np.isfinite(score) and score == pytest.approx(of_bytes, abs=1e-5)


@SETTINGS
@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
@example(texts=list(HARD))
def test_words_of_any_captions_are_a_vocabulary(texts, tmp_path):
    split = split_captions(texts)
    vocabulary = Vocabulary.build(split.counts(), min_count=1)
    vocabulary.save(tmp_path / "vocab.json")
    assert Vocabulary.load(tmp_path / "vocab.json").words == vocabulary.words


FORMS = ("precomputed", "h5")


def converted(folder: Path, captions: list[str], ids: list[str], kind: str):
    """What a split of these captions and ids is after it went through a format, or its error."""
    source = write_split(folder / "source", full=False)
    dataset = load_dataset(source, "train")
    # As no file would hold them: straight into the writer.
    write_lines(source / "train_caps.txt", captions)
    write_lines(source / "train_ids.txt", ids)
    target = folder / ("target.h5" if kind == "h5" else f"target-{kind}")
    convert(source, target, progress=False, overwrite=True)
    found = load_dataset(target, "train")
    regions = dataset.read_images(np.arange(6))[0]
    np.testing.assert_array_equal(found.read_images(np.arange(6))[0], regions)
    return found.captions, found.image_ids


@SETTINGS
@given(
    captions=st.one_of(st.lists(LINE, **SIX), st.lists(TEXTS, **SIX)),
    ids=st.one_of(st.lists(LINE, unique=True, **SIX), st.lists(TEXTS, unique=True, **SIX)),
    kind=st.sampled_from(FORMS),
)
@example(captions=["\ufeffa"] * 6, ids=["\ufeffa", "b", "c", "d", "e", "f"], kind="precomputed")
@example(captions=["a\0b"] * 6, ids=["a\0", "b", "c", "d", "e", "f"], kind="h5")
def test_any_captions_go_through_every_format(captions, ids, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    try:
        found, found_ids = converted(folder, captions, ids, kind)
    except (DataError, UnicodeEncodeError) as error:
        assert str(error) and "\n" not in str(error)
        return
    # What one line of text can be: nothing around it, and a mark before the first line is no text.
    expected = [[text.strip() for text in texts] for texts in (captions, ids)]
    for texts in expected:
        texts[0] = texts[0].removeprefix("\ufeff").strip()
    assert found == expected[0] and found_ids == expected[1]


@SETTINGS
@given(captions=st.lists(LINE, **SIX), ids=st.lists(LINE, unique=True, **SIX))
def test_lines_always_go_through_files_of_lines(captions, ids, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines")
    if not any(map(TOKEN_LINE.match, captions)):
        assert converted(folder, captions, ids, "precomputed") == (captions, ids)


@SETTINGS
@given(lines=st.lists(LINE, max_size=8))
def test_lines_come_back(lines, tmp_path):
    write_lines(tmp_path / "lines.txt", lines)
    assert read_lines(tmp_path / "lines.txt") == lines
