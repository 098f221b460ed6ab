import numpy as np

from hslm_tf.checks.fingerprints import Fingerprints, Pairs, fingerprints_of, repeated, shared


def prints(words, items=None):
    values = fingerprints_of(word.encode() for word in words)
    return Fingerprints(np.arange(len(words)) if items is None else np.array(items), values)


def as_lists(pairs: Pairs):
    return pairs.items.tolist(), pairs.others.tolist()


def test_equal_bytes_have_equal_fingerprints_and_others_not():
    values = fingerprints_of([b"dog", b"cat", b"dog", b""])
    assert values.dtype == np.uint64 and values[0] == values[2]
    assert len(set(values.tolist())) == 3
    rows = np.array([[1, 2], [1, 2], [2, 1]], np.float32)
    first, second, third = fingerprints_of(rows)
    assert first == second != third
    assert len(fingerprints_of([])) == 0


def test_all_but_the_first_are_repeated():
    assert as_lists(repeated(prints("abcabca"))) == ([3, 4, 5, 6], [0, 1, 2, 0])
    assert as_lists(repeated(prints("aba", [2, 5, 9]))) == ([9], [2])
    assert as_lists(repeated(prints(""))) == ([], [])


def test_shared_items_name_the_first_of_the_other_split():
    assert as_lists(shared(prints("xab"), prints("bcbx"))) == ([0, 2], [3, 0])
    assert as_lists(shared(prints("xx", [4, 7]), prints("yx", [1, 8]))) == ([4, 7], [8, 8])
    for one, other in (("", "a"), ("a", ""), ("a", "b")):
        assert as_lists(shared(prints(one), prints(other))) == ([], [])
