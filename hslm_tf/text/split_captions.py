"""Captions split into words, at most once: for the vocabulary, the token ids and the next run."""

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.regular_file import regular_file
from hslm_tf.text.tokenization import tokenize

logger = logging.getLogger("hslm_tf")

_CAPTION_BLOCK_SIZE = 8192
# Raise it whenever the same captions would give other words or another file.
_CACHE_FORMAT = 3


@dataclasses.dataclass(frozen=True)
class SplitCaptions:
    """The words of many captions; every distinct word is held once."""

    words: list[str]
    # The place in `words` of every word of every caption; caption i is
    # `places[offsets[i]:offsets[i + 1]]`.
    places: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def counts(self) -> dict[str, int]:
        """How often every word occurs."""
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


def cached_split(captions: Sequence[str]) -> SplitCaptions:
    """Splits captions into words, or reads what another run has kept on disk."""
    content = json.dumps([_CACHE_FORMAT, list(captions)])
    fingerprint = hashlib.sha256(content.encode("ascii")).hexdigest()
    path = cache_folder() / f"captions-{fingerprint[:32]}.npz"
    try:
        return _load(path, len(captions))
    except FileNotFoundError:
        pass
    # NumPy, zipfile and Python's parser raise anything on a damaged file.
    except Exception as error:
        logger.info("%s is no cache of captions and is written again: %s", path, error)
    split = split_captions(captions)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # No word contains a newline.
        words = np.frombuffer("\n".join(split.words).encode("utf-8"), np.uint8)
        with atomic_write(path) as draft:
            np.savez(draft, words=words, places=split.places, offsets=split.offsets)
    except OSError as error:
        logger.info("Captions are not cached: %s", error)
    return split


def cache_folder() -> Path:
    """The folder for files that can be computed again."""
    if folder := os.environ.get("HSLM_TF_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "hslm_tf"


def _load(path: Path, num_captions: int) -> SplitCaptions:
    with np.load(regular_file(path), allow_pickle=False) as arrays:
        text, places, offsets = arrays["words"], arrays["places"], arrays["offsets"]
    if text.dtype != np.uint8:
        raise ValueError(f"words are {text.dtype}")
    words = text.tobytes().decode("utf-8").split("\n") if text.size else []
    if (
        (places.dtype, offsets.dtype) != (np.int32, np.int64)
        or offsets.shape != (num_captions + 1,)
        or (offsets[0], offsets[-1]) != (0, len(places))
        or (np.diff(offsets) < 0).any()
        or not np.array_equal(np.unique(places), np.arange(len(words)))
    ):
        raise ValueError(f"these are not the words of {num_captions} captions")
    return SplitCaptions(words, places, offsets)
