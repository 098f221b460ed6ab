"""Things told apart by hashes of their bytes: what occurs twice in a split, and in two splits."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Digests(NamedTuple):
    """Hashes of some images or captions of a split."""

    items: np.ndarray
    values: np.ndarray


class Pairs(NamedTuple):
    """Items that are the same as others."""

    items: np.ndarray
    others: np.ndarray


def digests_of(contents: Iterable[bytes]) -> np.ndarray:
    """Hashes of byte strings."""
    hashes = (hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.frombuffer(b"".join(hashes), np.uint64)


def repeated(digests: Digests) -> Pairs:
    """Items that are the same as an earlier one of the split."""
    _, first, place = np.unique(digests.values, return_index=True, return_inverse=True)
    earlier = first[place]
    again = np.flatnonzero(earlier != np.arange(len(earlier)))
    return Pairs(digests.items[again], digests.items[earlier[again]])


def shared(first: Digests, second: Digests) -> Pairs:
    """Items of one split that are the same as one of another."""
    values, places = np.unique(second.values, return_index=True)
    found = np.searchsorted(values, first.values)
    found[found == len(values)] = 0
    same = np.flatnonzero(values[found] == first.values) if len(values) else found[:0]
    return Pairs(first.items[same], second.items[places[found[same]]])
