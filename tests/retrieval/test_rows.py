import numpy as np
import pytest

from hslm_tf.retrieval.rows import Rows


@pytest.fixture
def arrays():
    return [np.arange(12).reshape(6, 2), np.arange(100, 108).reshape(4, 2)]


@pytest.mark.parametrize("key", [0, -1, slice(2, 8), slice(None), np.array([9, 0, 5, 6, 0])])
def test_reads_like_the_concatenation(arrays, key):
    whole = np.concatenate(arrays)
    for rows, expected in (
        (Rows(arrays), whole),
        (Rows([whole]), whole),
        (Rows(arrays, np.array([3, 9, 3, *range(10)])), whole[[3, 9, 3, *range(10)]]),
    ):
        np.testing.assert_array_equal(rows[key], expected[key])
        assert rows.shape == expected.shape and rows.dtype == expected.dtype
        np.testing.assert_array_equal(np.asarray(rows), expected)


def test_select_and_append(arrays):
    first, second = Rows(arrays), Rows([np.arange(200, 206).reshape(3, 2)])
    chosen = first.select(np.array([8, 1, 7])).select(np.array([2, 0]))
    expected = np.concatenate(arrays)[[7, 8]]
    np.testing.assert_array_equal(chosen[:], expected)
    np.testing.assert_array_equal(chosen.append(second)[:], np.concatenate([expected, second[:]]))
    np.testing.assert_array_equal(second.append(chosen)[:], np.concatenate([second[:], expected]))
    np.testing.assert_array_equal(first.append(second)[:], np.concatenate([first[:], second[:]]))


def test_an_index_beyond_the_end_is_refused(arrays):
    for rows in (Rows(arrays), Rows(arrays, np.arange(3))):
        with pytest.raises(IndexError):
            rows[np.array([10])]
