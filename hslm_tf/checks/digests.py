"""Things told apart by hashes of their bytes: what occurs twice in a split, and in two splits."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Digests(NamedTuple):
    """Hashes of some images or captions of a split.

    64 bits each: among the four million regions of MS-COCO, the chance that any two different ones
    are taken for the same is one in two million.

    Attributes:
        items: int64 `[n]`, the numbers of the images or captions, rising.
        values: uint64 `[n]`, their hashes.
    """

    items: np.ndarray
    values: np.ndarray


class Pairs(NamedTuple):
    """Items that are the same as others.

    Attributes:
        items: int64 `[n]`, rising.
        others: int64 `[n]`, for each the first item that it is the same as.
    """

    items: np.ndarray
    others: np.ndarray


def digests_of(contents: Iterable[bytes]) -> np.ndarray:
    """Hashes of byte strings.

    Args:
        contents: n byte strings, or anything with a buffer.

    Returns:
        uint64 `[n]`.
    """
    hashes = (hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.frombuffer(b"".join(hashes), np.uint64)


def repeated(digests: Digests) -> Pairs:
    """Items that are the same as an earlier one of the split.

    Args:
        digests: the hashes of the split.

    Returns:
        All but the first of the same.
    """
    _, first, place = np.unique(digests.values, return_index=True, return_inverse=True)
    earlier = first[place]
    again = np.flatnonzero(earlier != np.arange(len(earlier)))
    return Pairs(digests.items[again], digests.items[earlier[again]])


def shared(first: Digests, second: Digests) -> Pairs:
    """Items of one split that are the same as one of another.

    Args:
        first: hashes of the one.
        second: hashes of the other.

    Returns:
        Items of the first and, for each, the earliest of the second that it is the same as.
    """
    values, places = np.unique(second.values, return_index=True)
    found = np.searchsorted(values, first.values)
    found[found == len(values)] = 0
    same = np.flatnonzero(values[found] == first.values) if len(values) else found[:0]
    return Pairs(first.items[same], second.items[places[found[same]]])
