"""Split captions, kept on disk for the next run."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.text.split_captions import SplitCaptions, split_captions

logger = logging.getLogger("hslm_tf")

# Raise it whenever the same captions would give other words or another file.
_FORMAT = 2


def cache_folder() -> Path:
    """Returns the folder for files that can be computed again."""
    if folder := os.environ.get("HSLM_TF_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "hslm_tf"


def cached_split(captions: Sequence[str]) -> SplitCaptions:
    """Splits the captions of a data set into words, at most once."""
    content = json.dumps([_FORMAT, list(captions)])
    fingerprint = hashlib.sha256(content.encode("ascii")).hexdigest()
    path = cache_folder() / f"captions-{fingerprint[:32]}.npz"
    try:
        return _load(path, len(captions))
    except FileNotFoundError:
        pass
    # NumPy, zipfile and Python's parser raise anything on a damaged file; it can be made again.
    except Exception as error:
        logger.info("%s is no cache of captions and is made again: %s", path, error)
    split = split_captions(captions)
    try:
        _save(split, path)
    except OSError as error:
        logger.info("Captions are not cached: %s", error)
    return split


def _load(path: Path, num_captions: int) -> SplitCaptions:
    with np.load(path, allow_pickle=False) as arrays:
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


def _save(split: SplitCaptions, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No word contains a newline.
    words = np.frombuffer("\n".join(split.words).encode("utf-8"), np.uint8)
    with atomic_write(path) as draft:
        np.savez(draft, words=words, places=split.places, offsets=split.offsets)
