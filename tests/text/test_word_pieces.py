import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.text.word_pieces import WordPieceTokenizer, joined_pieces
from tests.tiny_bert import PIECES

DOG, THING, ONE, TWO = (PIECES.index(piece) for piece in ("dog", "thing", "##1", "##2"))


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(PIECES, max_tokens=6)


def test_pieces_of_captions(tokenizer):
    captions = ["A DOG.", "thing12", "", "  ", "dog qqq", b"dog \xff"]
    a, dot = PIECES.index("a"), PIECES.index(".")
    expected = [[a, DOG, dot], [THING, ONE, TWO], [1], [1], [DOG, 1], [DOG, 1]]
    assert tokenizer(captions).to_list() == expected
    # In a graph, as a served model runs it.
    in_graph = tf.function(tokenizer, input_signature=[tf.TensorSpec([None], tf.string)])
    assert in_graph(tf.constant(captions)).to_list() == expected


def test_typographic_characters_are_those_of_a_keyboard(tokenizer):
    assert tokenizer(["ｄｏｇ", "do\u00adg"]).to_list() == [[DOG], [DOG]]


def test_whole_data_set_and_long_captions(tokenizer):
    tokens = tokenizer.tokenize_all(["dog", "thing1 thing2 dog", "", "dog dog dog dog"])
    assert tokens.num_truncated == 1
    np.testing.assert_array_equal(tokens.offsets, [0, 1, 5, 6, 10])
    np.testing.assert_array_equal(tokens.padded(np.array([1])), [[THING, ONE, THING, TWO]])
    assert len(tokenizer.tokenize_all([])) == 0


def test_what_is_read(tokenizer):
    assert tokenizer.read("dog qqq") == [("dog", True), ("[UNK]", False)]
    assert tokenizer.read("") == []


def test_special_pieces_in_a_caption_are_text(tokenizer):
    special = {PIECES.index(piece) for piece in ("[PAD]", "[CLS]", "[SEP]")}
    assert not special & set(tokenizer(["[CLS] dog [SEP] [PAD]"]).flat_values.numpy().tolist())


@pytest.mark.parametrize(
    ("pieces", "words", "numbers"),
    [
        (["sk", "##8", "##board", "a"], ["sk8board", "a"], [0, 0, 0, 1]),
        (["##8", "a", "##s"], ["##8", "as"], [0, 1, 1]),
        ([], [], []),
    ],
)
def test_pieces_are_joined(pieces, words, numbers):
    joined, of_pieces = joined_pieces(pieces)
    assert joined == words
    np.testing.assert_array_equal(of_pieces, numbers)
