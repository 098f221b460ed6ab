import numpy as np
import pytest

from hslm_tf.text.word_vectors import load_word_vectors

WORDS = ("<pad>", "dog", "naïve", "cat")


def written(tmp_path, text: str):
    path = tmp_path / "vectors.txt"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("header", ["", "4 3\n"], ids=["glove", "word2vec"])
def test_known_words_get_their_vectors(header, tmp_path):
    text = header + "dog 1 -2 3e-1\nthe 9 9 9\nnaïve 4 5 6 \ndog 7 7 7\n"
    matrix, found = load_word_vectors(written(tmp_path, text), WORDS, dim=3)
    assert found == 2
    assert matrix.shape == (4, 3) and matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix[1], np.float32([1, -2, 0.3]))
    np.testing.assert_array_equal(matrix[2], [4, 5, 6])


def test_other_words_are_uniform_and_seeded(tmp_path):
    path = written(tmp_path, "the " + "9 " * 1000 + "\n")
    matrix, found = load_word_vectors(path, WORDS, dim=1000)
    assert found == 0
    assert -0.1 <= matrix.min() < -0.09 and 0.09 < matrix.max() <= 0.1
    again, _ = load_word_vectors(path, WORDS, dim=1000)
    other, _ = load_word_vectors(path, WORDS, dim=1000, seed=1)
    np.testing.assert_array_equal(matrix, again)
    assert not np.array_equal(matrix, other)


def test_words_with_spaces_and_unusual_bytes_are_passed_over(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b". . . 1 2\n\xff\x85 3 4\ncat 5 6\n")
    matrix, found = load_word_vectors(path, WORDS, dim=2)
    assert found == 1
    np.testing.assert_array_equal(matrix[3], [5, 6])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2 3\ncow 1 2\n", "line 2: 2 values, expected a word and 3 values"),
        ("the 1 2 3 4\n", "line 1: 4 values, expected a word and 3 values"),
        ("2 4\nthe 1 2 3 4\n", "line 1: vectors of width 4, expected 3"),
        ("the 1 2 3\ncat 1 x 3\n", "line 2: .*'x', expected numbers separated by spaces"),
        ("cat 1 nan 3\n", "line 1: NaN or infinity, expected finite numbers"),
        ("3 3\nthe 1 2 3\n", "1 vectors, expected 3 as in its first line"),
        ("", "no vectors, expected words and their 3 values"),
    ],
)
def test_errors_name_the_file_and_the_line(text, message, tmp_path):
    with pytest.raises(ValueError, match=rf"vectors\.txt.*{message}"):
        load_word_vectors(written(tmp_path, text), WORDS, dim=3)
