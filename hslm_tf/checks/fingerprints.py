"""Images and captions compared by fingerprints, in one split and between two."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Fingerprints(NamedTuple):
    """Numbers of images or captions of a split, rising, and the fingerprint of each."""

    items: np.ndarray
    values: np.ndarray


class Pairs(NamedTuple):
    """Items, rising, and for each the first other item that is the same."""

    items: np.ndarray
    others: np.ndarray


def fingerprints_of(contents: Iterable[bytes]) -> np.ndarray:
    """Fingerprints of byte strings, uint64."""
    # 64 bits: the chance that any two different regions among the four million of MS-COCO have the
    # same fingerprint is one in two million.
    hashes = (hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.frombuffer(b"".join(hashes), np.uint64)


def repeated(split: Fingerprints) -> Pairs:
    """Items that are the same as an earlier one of the split."""
    _, first, place = np.unique(split.values, return_index=True, return_inverse=True)
    earlier = first[place]
    again = np.flatnonzero(earlier != np.arange(len(earlier)))
    return Pairs(split.items[again], split.items[earlier[again]])


def shared(split: Fingerprints, other: Fingerprints) -> Pairs:
    """Items of one split that are the same as one of another."""
    values, first = np.unique(other.values, return_index=True)
    same = np.flatnonzero(np.isin(split.values, values))
    places = first[np.searchsorted(values, split.values[same])]
    return Pairs(split.items[same], other.items[places])
