"""Token ids of a split, kept on disk for the next run."""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.text.tokenizer import CaptionTokenizer, TokenizedCaptions

logger = logging.getLogger("hslm_tf")

# To be raised whenever the same captions and vocabulary would give other ids or another file.
_FORMAT = 1


def cache_folder() -> Path:
    """Returns where things lie that can be computed again.

    The environment variable `HSLM_TF_CACHE`; without it `hslm_tf` in `XDG_CACHE_HOME`, or in
    `~/.cache`.
    """
    if folder := os.environ.get("HSLM_TF_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "hslm_tf"


def cached_tokens(
    tokenizer: CaptionTokenizer, words: Sequence[str], captions: Sequence[str]
) -> TokenizedCaptions:
    """Token ids of a whole data set, computed at most once.

    A cache that is broken is written anew; one that cannot be written does no harm.

    Args:
        tokenizer: what turns captions into ids.
        words: its vocabulary.
        captions: n captions as they are written.

    Returns:
        What `tokenizer.tokenize_all(captions)` returns.
    """
    content = json.dumps([_FORMAT, tokenizer.max_tokens, list(words), list(captions)])
    fingerprint = hashlib.sha256(content.encode("ascii")).hexdigest()
    path = cache_folder() / f"tokens-{fingerprint[:32]}.npz"
    try:
        return _load(path, len(captions), len(words))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.info("%s is no cache of tokens and is made again: %s", path, error)
    tokens = tokenizer.tokenize_all(captions)
    try:
        _save(tokens, path)
    except OSError as error:
        logger.info("Tokens are not cached: %s", error)
    return tokens


def _load(path: Path, num_captions: int, num_words: int) -> TokenizedCaptions:
    with np.load(path, allow_pickle=False) as arrays:
        ids, offsets = arrays["ids"], arrays["offsets"]
        num_truncated = int(arrays["num_truncated"])
    if (
        (ids.dtype, offsets.dtype) != (np.int32, np.int64)
        or offsets.shape != (num_captions + 1,)
        or (offsets[0], offsets[-1]) != (0, len(ids))
        or (np.diff(offsets) < 0).any()
        or not 0 <= ids.min(initial=0) <= ids.max(initial=0) < num_words
    ):
        raise ValueError(f"these are not the ids of {num_captions} captions")
    return TokenizedCaptions(ids, offsets, num_truncated)


def _save(tokens: TokenizedCaptions, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as draft:
        np.savez(draft, ids=tokens.ids, offsets=tokens.offsets, num_truncated=tokens.num_truncated)
