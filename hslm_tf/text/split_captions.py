"""Captions split into words once, for the vocabulary and for the token ids alike."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hslm_tf.text.tokenization import tokenize

_CAPTION_BLOCK_SIZE = 8192


@dataclasses.dataclass(frozen=True)
class SplitCaptions:
    """The words of many captions, one caption after the other; every distinct word is held once."""

    words: list[str]
    places: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def counts(self) -> dict[str, int]:
        """Returns how often every word occurs."""
        counts = np.bincount(self.places, minlength=len(self.words))
        return dict(zip(self.words, counts.tolist(), strict=True))


def split_captions(captions: Sequence[str]) -> SplitCaptions:
    """Splits captions into words, see `hslm_tf.text.tokenization.tokenize`."""
    place_of: dict[bytes, int] = {}
    places = []
    lengths = [np.zeros(1, np.int64)]
    for first in range(0, len(captions), _CAPTION_BLOCK_SIZE):
        words = tokenize(captions[first : first + _CAPTION_BLOCK_SIZE])
        for word in words.flat_values.numpy():
            places.append(place_of.setdefault(word, len(place_of)))
        lengths.append(words.row_lengths().numpy())
    return SplitCaptions(
        [word.decode("utf-8") for word in place_of],
        np.array(places, np.int32),
        np.cumsum(np.concatenate(lengths)),
    )
