import numpy as np

from hslm_tf.checks.digests import Digests, Pairs, digests_of, repeated, shared


def digests(words, items=None):
    values = digests_of(word.encode() for word in words)
    return Digests(np.arange(len(words)) if items is None else np.array(items), values)


def as_lists(pairs: Pairs):
    return pairs.items.tolist(), pairs.others.tolist()


def test_equal_bytes_have_equal_hashes_and_others_not():
    values = digests_of([b"dog", b"cat", b"dog", b""])
    assert values.dtype == np.uint64 and values[0] == values[2]
    assert len(set(values.tolist())) == 3
    rows = np.array([[1, 2], [1, 2], [2, 1]], np.float32)
    first, second, third = digests_of(rows)
    assert first == second != third
    assert len(digests_of([])) == 0


def test_repeated_are_all_but_the_first():
    assert as_lists(repeated(digests("abcabca"))) == ([3, 4, 5, 6], [0, 1, 2, 0])
    assert as_lists(repeated(digests("aba", [2, 5, 9]))) == ([9], [2])
    assert as_lists(repeated(digests(""))) == ([], [])


def test_shared_name_the_first_of_the_other():
    assert as_lists(shared(digests("xab"), digests("bcbx"))) == ([0, 2], [3, 0])
    assert as_lists(shared(digests("xx", [4, 7]), digests("yx", [1, 8]))) == ([4, 7], [8, 8])
    for one, other in (("", "a"), ("a", ""), ("a", "b")):
        assert as_lists(shared(digests(one), digests(other))) == ([], [])
