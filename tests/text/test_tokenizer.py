import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.text.split_captions import split_captions
from hslm_tf.text.tokenizer import CaptionTokenizer, TokenizedCaptions
from hslm_tf.text.vocabulary import SPECIAL_WORDS

WORDS = (*SPECIAL_WORDS, "a", "dog", "runs", ".")
CAPTIONS = ["A dog runs.", "a CAT", "", "a a a a a a"]


def test_start_words_end():
    ids = CaptionTokenizer(WORDS)(tf.constant(CAPTIONS))
    assert ids.dtype == tf.int32
    assert ids.to_list() == [[1, 4, 5, 6, 7, 2], [1, 4, 3, 2], [1, 2], [1, 4, 4, 4, 4, 4, 4, 2]]


def test_truncation_keeps_the_first_words_and_end():
    ids = CaptionTokenizer(WORDS, max_tokens=5)(tf.constant(CAPTIONS))
    assert ids.to_list() == [[1, 4, 5, 6, 2], [1, 4, 3, 2], [1, 2], [1, 4, 4, 4, 2]]


@pytest.mark.parametrize(("max_tokens", "truncated"), [(None, 0), (8, 0), (7, 1), (6, 1), (5, 2)])
def test_a_data_set_at_once(max_tokens, truncated, monkeypatch):
    monkeypatch.setattr("hslm_tf.text.split_captions._CAPTION_BLOCK_SIZE", 3)
    tokenizer = CaptionTokenizer(WORDS, max_tokens)
    tokens = tokenizer.tokenize_all(CAPTIONS)
    assert tokens.num_truncated == truncated
    assert (tokens.ids.dtype, tokens.offsets.dtype) == (np.int32, np.int64)
    rows = [part.tolist() for part in np.split(tokens.ids, tokens.offsets[1:-1])]
    assert rows == tokenizer(tf.constant(CAPTIONS)).to_list()
    assert len(tokens) == len(CAPTIONS)


def test_the_same_captions_are_split_once(monkeypatch):
    calls = []

    def counting(captions):
        calls.append(captions)
        return split_captions(captions)

    monkeypatch.setattr("hslm_tf.text.tokenizer.split_captions", counting)
    tokenizer = CaptionTokenizer(WORDS)
    tokens = tokenizer.tokenize_all(CAPTIONS)
    assert tokenizer.tokenize_all(list(CAPTIONS)) is tokens
    assert len(tokenizer.tokenize_all(CAPTIONS[:2])) == 2
    assert len(calls) == 2


def test_no_captions():
    tokenizer = CaptionTokenizer(WORDS, max_tokens=5)
    assert tokenizer(tf.constant([], tf.string)).to_list() == []
    tokens = tokenizer.tokenize_all([])
    assert (len(tokens), tokens.num_truncated) == (0, 0)
    assert tokens.padded([]).shape == (0, 0)


def test_padded_rows():
    tokens = TokenizedCaptions(
        np.array([1, 4, 2, 1, 2, 1, 5, 6, 2], np.int32), np.array([0, 3, 5, 9]), num_truncated=0
    )
    padded = tokens.padded(np.array([2, 1, 2]))
    assert padded.dtype == np.int32
    np.testing.assert_array_equal(padded, [[1, 5, 6, 2], [1, 2, 0, 0], [1, 5, 6, 2]])
    np.testing.assert_array_equal(tokens.padded([1]), [[1, 2]])


def test_exported_tokenizer_needs_no_python(tmp_path):
    tokenizer = CaptionTokenizer(WORDS, max_tokens=5)
    tokenizer.ids = tf.function(
        lambda captions: tokenizer(captions).to_tensor(),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(tokenizer, str(tmp_path))
    restored = tf.saved_model.load(str(tmp_path)).ids(tf.constant(CAPTIONS))
    np.testing.assert_array_equal(restored, tokenizer.ids(tf.constant(CAPTIONS)))


def test_max_tokens_must_leave_room_for_a_word():
    with pytest.raises(ValueError, match="Received: max_tokens=2"):
        CaptionTokenizer(WORDS, max_tokens=2)


def test_words_must_be_a_vocabulary():
    with pytest.raises(ValueError, match="Ids 0 to 3 must be"):
        CaptionTokenizer(["a", "dog"])
