"""The second stage of a search: exact scores of a shortlist."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# What is scored at once where the shortlist is long.
_ITEMS_AT_ONCE = 1024


class Hit(NamedTuple):
    """One answer.

    Attributes:
        item: the image's id, or the caption.
        score: HSLM's score of query and item.
        row: the item's place in the collection, see `Collection.ids` and `Collection.captions`.
    """

    item: str
    score: float
    row: int


def rerank(
    rows: np.ndarray, score: Callable[[np.ndarray], tf.Tensor], items: list[str], k: int
) -> list[Hit]:
    """Scores a shortlist and takes the best.

    Args:
        rows: int `[s]`, rows of the shortlist; negative ones are gaps.
        score: gives the scores, `[b]`, of some rows.
        items: ids or captions of the whole collection.
        k: how many.

    Returns:
        The best k, or all if they are fewer; of equal scores the lower row first.
    """
    # Sorted rows are kind to the disk, and a stable order then gives ties to the first.
    rows = np.sort(rows[rows >= 0])
    if not len(rows):
        return []
    blocks = np.split(rows, range(_ITEMS_AT_ONCE, len(rows), _ITEMS_AT_ONCE))
    scores = np.concatenate([score(block) for block in blocks])
    best = np.argsort(-scores, kind="stable")[:k]
    return [Hit(items[rows[i]], float(scores[i]), int(rows[i])) for i in best]
