"""The two stages of a search: candidates by inner products, then their exact scores."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hslm_tf.retrieval.indexes import Index
from hslm_tf.retrieval.queries import Queries

# Items that are scored at once.
_ITEM_BLOCK_SIZE = 1024


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


def retrieve_and_rerank(
    queries: Queries,
    index: Callable[[], Index],
    items: Sequence[str],
    k: int,
    num_candidates: int | None,
) -> list[list[Hit]]:
    """Finds the best items for queries."""
    if k < 1 or (num_candidates is not None and num_candidates < 1):
        raise ValueError(f"At least 1 is needed. Received: k={k}, num_candidates={num_candidates}")
    if not items:
        return [[] for _ in queries.vectors]
    if num_candidates is None:
        candidates = [np.arange(len(items))] * len(queries.vectors)
    else:
        candidates = index().search(queries.vectors, max(k, num_candidates))[1]
    return [_rerank(rows, partial(queries.score, i), items, k) for i, rows in enumerate(candidates)]


def _rerank(
    rows: np.ndarray, score: Callable[[np.ndarray], tf.Tensor], items: Sequence[str], k: int
) -> list[Hit]:
    """Scores candidates, rows of the items or negative for gaps, and takes the best."""
    # In order, so that the disk is read in order, and the first of equal scores comes first.
    rows = np.sort(rows[rows >= 0])
    if not len(rows):
        return []
    blocks = np.split(rows, range(_ITEM_BLOCK_SIZE, len(rows), _ITEM_BLOCK_SIZE))
    scores = np.concatenate([score(block) for block in blocks])
    best = np.argsort(-scores, kind="stable")[:k]
    return [Hit(items[rows[i]], float(scores[i]), int(rows[i])) for i in best]
