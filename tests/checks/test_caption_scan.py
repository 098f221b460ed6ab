import dataclasses

import numpy as np
import pytest

from hslm_tf.checks.caption_scan import CaptionScan
from hslm_tf.text.tokenizer import CaptionTokenizer
from hslm_tf.text.vocabulary import SPECIAL_WORDS, Vocabulary
from tests.tiny_split import tiny_split

CAPTIONS = [
    "A dog runs.",
    "a  dog runs .",
    "A cat runs.",
    "...",
    "The zebra's unicorn",
    "zebra",
    "犬 runs",
    "?! -",
    *("a dog",) * 3,
    "a cat sits on a big mat and a dog runs on the grass",
]
VOCABULARY = Vocabulary([*SPECIAL_WORDS, *"a dog cat runs . the".split()])


def report_of(captions=CAPTIONS, max_tokens=10, vocabulary=VOCABULARY):
    dataset = dataclasses.replace(tiny_split(), captions=list(captions))
    return CaptionScan(dataset).report(max_tokens, vocabulary)


def test_counts_and_first_places():
    report = report_of()
    assert (report.captions, report.fewest, report.most) == (12, 2, 2)
    assert report.repeated.count == 3
    assert report.repeated.first == "caption 1 'a  dog runs .', as caption 0"
    assert (report.empty.count, report.empty.first) == (2, "caption 3 '...'")
    assert (report.too_long.count, report.too_long.first) == (
        1,
        f"caption 11 {CAPTIONS[11]!r} of 16 tokens",
    )
    assert report.unknown.whole_captions.first == "caption 3 '...'"
    assert report.unknown.commonest[0] == "zebra"


def test_counts_are_those_of_the_tokenizer():
    report = report_of()
    tokenizer = CaptionTokenizer(VOCABULARY.words, max_tokens=10)
    assert tokenizer.tokenize_all(CAPTIONS).num_truncated == report.too_long.count
    tokens = CaptionTokenizer(VOCABULARY.words).tokenize_all(CAPTIONS)
    lengths, counts = np.unique(np.diff(tokens.offsets), return_counts=True)
    assert report.lengths == dict(zip(lengths.tolist(), counts.tolist(), strict=True))
    unknown = tokens.ids == VOCABULARY.id_of("<unk>")
    assert report.words == len(tokens.ids) - 2 * len(tokens)
    assert report.unknown.share == pytest.approx(unknown.sum() / report.words)
    captions = np.add.reduceat(unknown, tokens.offsets[:-1])
    assert report.unknown.captions == np.count_nonzero(captions)
    whole = captions == np.diff(tokens.offsets) - 2
    assert report.unknown.whole_captions.count == whole.sum() > 0


def test_without_a_vocabulary():
    assert report_of(vocabulary=None).unknown is None
