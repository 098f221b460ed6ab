"""The two stages of a search: candidates by inner products, then their exact scores."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hslm_tf.data.errors import DataError
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.encoded_dataset import EncodedDataset
from hslm_tf.retrieval.indexes import Index
from hslm_tf.retrieval.projection_heads import ProjectionHeads

# Items that are scored at once, and images of one block of the matcher.
_ITEM_BLOCK_SIZE, _IMAGE_BLOCK_SIZE = 1024, 128


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


# Vectors of queries `[q, dim]`, and the function that scores items for one query by its number.
Queries = tuple[np.ndarray, Callable[[int, np.ndarray], tf.Tensor]]


def caption_queries(
    model: HSLM, heads: ProjectionHeads, encoded: EncodedDataset, captions: Sequence[str]
) -> Queries:
    """Asks for the images that captions describe."""
    texts = model.encode_text(captions)
    # Besides its words, every caption has a <start> and an <end>.
    empty = np.flatnonzero(np.sum(texts["word_mask"], axis=1) <= 2)
    if len(empty):
        raise ValueError(f"A caption has no words. Received: {captions[empty[0]]!r}")

    def score(query: int, rows: np.ndarray) -> tf.Tensor:
        text = {key: value[query : query + 1] for key, value in texts.items()}
        scores = model.score_encoded(encoded.images.read(rows), text, _IMAGE_BLOCK_SIZE)[:, 0]
        return scores if encoded.image_hubness is None else scores - encoded.image_hubness[rows]

    return heads.text_vectors(texts), score


def image_queries(
    model: HSLM,
    heads: ProjectionHeads,
    encoded: EncodedDataset,
    images: Sequence[str] | np.ndarray,
    region_mask: np.ndarray | None,
) -> Queries:
    """Asks for the captions that describe images, which are ids or region features."""
    if tf.is_tensor(images):
        images = images.numpy()
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        queries = model.encode_image(_finite(images, region_mask), region_mask)
        vectors = heads.image_vectors(queries)
    else:
        rows = encoded.rows_of(images)
        queries, vectors = encoded.images.read(rows), encoded.vectors[rows]

    def score(query: int, rows: np.ndarray) -> tf.Tensor:
        image = {key: value[query : query + 1] for key, value in queries.items()}
        scores = model.score_encoded(image, encoded.texts.read(rows), 1)[0]
        return scores if encoded.caption_hubness is None else scores - encoded.caption_hubness[rows]

    return vectors, score


def _finite(regions: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Checks that real region features are finite, and sets padding to zero."""
    if mask is None:
        mask = np.ones(regions.shape[:2], bool)
    if regions.ndim != 3 or mask.shape != regions.shape[:2]:
        # The model raises the error.
        return regions
    if not np.isfinite(regions[mask]).all():
        raise ValueError("Region features must be finite. Received: NaN or infinity")
    return np.where(mask[..., None], regions, 0)


def retrieve_and_rerank(
    queries: Queries,
    index: Callable[[], Index],
    items: Sequence[str],
    k: int,
    num_candidates: int | None,
) -> list[list[Hit]]:
    """Finds the best items for queries; the index is filled only where candidates are needed."""
    if k < 1 or (num_candidates is not None and num_candidates < 1):
        raise ValueError(f"At least 1 is needed. Received: k={k}, num_candidates={num_candidates}")
    vectors, score = queries
    if not items:
        return [[] for _ in vectors]
    if num_candidates is None:
        candidates = [np.arange(len(items))] * len(vectors)
    else:
        candidates = index().search(vectors, max(k, num_candidates))[1]
    return [_rerank(rows, partial(score, i), items, k) for i, rows in enumerate(candidates)]


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
    # The file's large parts are not read before they are needed.
    if not np.isfinite(scores).all():
        item = items[rows[np.argmin(np.isfinite(scores))]]
        raise DataError(f"The score of {item!r} is no finite number: the collection is damaged")
    best = np.argsort(-scores, kind="stable")[:k]
    return [Hit(items[rows[i]], float(scores[i]), int(rows[i])) for i in best]
