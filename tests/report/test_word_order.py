import dataclasses
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.data import load_dataset
from hslm_tf.report.word_order import (
    Exchange,
    exchanged_caption,
    measure_word_order,
    read_exchanges,
    word_order_section,
    word_order_table,
)
from tests.tiny_split import tiny_split

EXCHANGES = [
    Exchange(0, 0, 2, "nouns"),
    Exchange(3, 1, 2, "adjectives"),
    Exchange(4, 0, 1, "nouns"),
]


class Alphabetical:
    """Scores a caption by whether its first word stands before its last one in a dictionary."""

    def score(self, regions, captions, mask):
        words = [caption.split() for caption in captions]
        return tf.constant([float(first < last) for first, *_, last in words])


@pytest.fixture
def dataset():
    captions = ["cat eats dog", "", "", "a red big zebra", "hat boy"] + ["dog"] * 7
    return dataclasses.replace(tiny_split(), captions=captions)


def test_two_words_change_places():
    assert exchanged_caption("A dog  chases a cat .", Exchange(0, 1, 4, "nouns")) == (
        "A cat chases a dog ."
    )


def test_the_right_caption_must_score_above(dataset):
    right = measure_word_order(Alphabetical(), dataset, EXCHANGES)
    # "cat eats dog" before "dog eats cat"; the ends of the second are equal; "hat boy" after.
    assert right.tolist() == [True, False, False]
    table = word_order_table(EXCHANGES, right)
    assert list(table.rows) == [
        ("nouns", "2", "50.0"),
        ("adjectives", "1", "0.0"),
        ("all", "3", "33.3"),
    ]


def test_exchanges_are_of_flickr8k_alone(dataset):
    assert read_exchanges(dataset) == []
    assert word_order_section(Alphabetical(), dataset) is None


@pytest.mark.skipif("HSLM_TF_DATA" not in os.environ, reason="HSLM_TF_DATA is not set")
def test_exchanges_fit_the_captions_that_they_were_checked_on():
    dev = load_dataset(Path(os.environ["HSLM_TF_DATA"]) / "flickr8k", "dev")
    exchanges = read_exchanges(dev)
    kinds = np.array([exchange.kind for exchange in exchanges])
    assert (np.count_nonzero(kinds == "nouns"), np.count_nonzero(kinds == "adjectives")) == (
        84,
        166,
    )
    for exchange in exchanges:
        caption = dev.captions[exchange.caption]
        other = exchanged_caption(caption, exchange)
        assert sorted(other.split()) == sorted(caption.split()) and other.split() != caption.split()


def test_packaged_exchanges_name_different_words():
    text = (files("hslm_tf.report") / "exchanged_words.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    assert len(rows) == 250
    for caption, first, second, word, other, kind in rows:
        assert 0 <= int(caption) < 5000 and 0 <= int(first) < int(second)
        assert word != other and kind in ("nouns", "adjectives")
