import numpy as np
import pytest

from hslm_tf.data.errors import DataError
from hslm_tf.text.word_vectors import load_word_vectors

WORDS = ("<pad>", "dog", "naïve", "cat")


def written(tmp_path, text: str):
    path = tmp_path / "vectors.txt"
    path.write_bytes(text.encode())
    return path


def assert_scaled(matrix, values):
    """Values as published, but for a factor: the deviation of uniform(-0.1, 0.1)."""
    values = np.asarray(values, np.float64)
    np.testing.assert_allclose(matrix, values * (0.1 / 3**0.5 / values.std()), rtol=1e-5)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "byte order mark"])
@pytest.mark.parametrize("header", ["", "4 3\n"], ids=["glove", "word2vec"])
def test_known_words_get_their_vectors(header, mark, tmp_path):
    text = mark + header + "dog 1 -2 3e-1\nthe 9 9 9\nnaïve 4 5 6 \ndog 7 7 7\n"
    matrix, found = load_word_vectors(written(tmp_path, text), WORDS, dim=3)
    np.testing.assert_array_equal(found, [False, True, True, False])
    assert matrix.shape == (4, 3) and matrix.dtype == np.float32
    assert_scaled(matrix[found], [[1, -2, 0.3], [4, 5, 6]])


@pytest.mark.parametrize("letter", [0xD800, 0x110000, 0xFFFFFFFF])
def test_a_word_that_is_not_unicode(letter, tmp_path):
    words = np.array([[ord("a"), 0], [letter, ord("b")]], np.uint32).view("<U2")[:, 0]
    np.savez(tmp_path / "a.npz", words=words, vectors=np.ones((2, 3), np.float32))
    with pytest.raises(DataError, match="a.npz, row 1: the word is not valid Unicode"):
        load_word_vectors(tmp_path / "a.npz", ["b"], 3)


def test_npz_equals_text(tmp_path):
    path = tmp_path / "vectors.npz"
    vectors = np.array([[1, -2, 0.3], [9, 9, 9], [4, 5, 6], [7, 7, 7]], np.float64)
    np.savez(path, words=np.array(["dog", "the", "naïve", "dog"]), vectors=vectors)
    text = "dog 1 -2 3e-1\nthe 9 9 9\nnaïve 4 5 6\ndog 7 7 7\n"
    for actual, expected in zip(
        load_word_vectors(path, WORDS, dim=4),
        load_word_vectors(written(tmp_path, text), WORDS, dim=4),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)


def test_narrower_vectors_fill_the_first_columns(tmp_path):
    path = written(tmp_path, "dog 1 2\ncat 3 4\n")
    matrix, found = load_word_vectors(path, WORDS, dim=5)
    assert_scaled(matrix[found][:, :2], [[1, 2], [3, 4]])
    assert 0 < np.abs(matrix[:, 2:]).max() <= 0.1


def test_a_word_that_is_a_number_counts_as_a_word(tmp_path):
    matrix, found = load_word_vectors(written(tmp_path, "7 1 2\n"), ["7"], dim=2)
    assert_scaled(matrix, [[1, 2]])


def test_other_words_are_uniform_and_seeded(tmp_path):
    path = written(tmp_path, "the " + "9 " * 1000 + "\n")
    matrix, found = load_word_vectors(path, WORDS, dim=1000)
    assert not found.any()
    assert -0.1 <= matrix.min() < -0.09 and 0.09 < matrix.max() <= 0.1
    again, _ = load_word_vectors(path, WORDS, dim=1000)
    other, _ = load_word_vectors(path, WORDS, dim=1000, seed=1)
    np.testing.assert_array_equal(matrix, again)
    assert not np.array_equal(matrix, other)


def test_words_with_spaces_and_unusual_bytes_are_passed_over(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b". . . 1 2\n\xff\x85 3 4\ncat 5 6\n")
    matrix, found = load_word_vectors(path, WORDS, dim=2)
    np.testing.assert_array_equal(found, [False, False, False, True])
    assert_scaled(matrix[3], [5, 6])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2 3\ncow 1 2\n", "line 2: 2 values, expected a word and 3 values"),
        ("the 1 2 3 4\n", "line 1: vectors of width 4, expected at most 3"),
        ("1 4\nthe 1 2 3 4\n", "line 2: vectors of width 4, expected at most 3"),
        ("the 1 2 3\ncat 1 x 3\n", "line 2: .*'x', expected numbers separated by spaces"),
        ("cat 1 nan 3\n", "line 1: NaN or infinity, expected finite numbers"),
        ("3 3\nthe 1 2 3\n", "1 vectors, expected 3 as in its first line"),
        ("", "no vectors, expected lines of a word and its values"),
        ("dog\ncat\n", "line 1: no values, expected a word and its values"),
    ],
)
def test_errors_name_the_file_and_the_line(text, message, tmp_path):
    with pytest.raises(ValueError, match=rf"vectors\.txt.*{message}"):
        load_word_vectors(written(tmp_path, text), WORDS, dim=3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"words": ["dog"]}, "expected the arrays `words` .strings. and `vectors`"),
        ({"words": ["dog"], "vectors": [[1, 2]]}, "expected strings .n. and floats"),
        ({"words": [1.0], "vectors": [[1.0]]}, "expected strings .n. and floats"),
        ({"words": ["dog"], "vectors": [[1.0], [2.0]]}, "expected strings .n. and floats"),
        ({"words": ["dog"], "vectors": [1.0]}, "`vectors` .1., expected .n, width."),
        ({"words": ["dog"], "vectors": [[np.inf]]}, "row 0: NaN or infinity"),
        ({"words": ["dog"], "vectors": [[1.0, 2, 3, 4]]}, "row 0: vectors of width 4, expected"),
    ],
)
def test_errors_of_npz_name_the_file(arrays, message, tmp_path):
    np.savez(tmp_path / "vectors.npz", **{k: np.array(v) for k, v in arrays.items()})
    with pytest.raises(ValueError, match=rf"vectors\.npz.*{message}"):
        load_word_vectors(tmp_path / "vectors.npz", WORDS, dim=3)


@pytest.mark.parametrize("kind", ["text", "a single array"])
def test_a_file_that_is_no_npz_is_named(kind, tmp_path):
    if kind == "text":
        (tmp_path / "vectors.npz").write_bytes(b"dog 1 2 3")
    else:
        with open(tmp_path / "vectors.npz", "wb") as file:
            np.save(file, np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"vectors\.npz: expected the arrays"):
        load_word_vectors(tmp_path / "vectors.npz", WORDS, dim=3)
