"""Queries: the vectors that find candidates, and the exact scores of a query's candidates."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.encoded_dataset import EncodedDataset
from hslm_tf.retrieval.projection_heads import ProjectionHeads

# Images of one block of the matcher.
_IMAGE_BLOCK_SIZE = 128


class Queries(NamedTuple):
    """Some queries to one side of an encoded dataset."""

    vectors: np.ndarray
    score: Callable[[int, np.ndarray], tf.Tensor]


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

    return Queries(heads.text_vectors(texts), score)


def image_queries(
    model: HSLM,
    heads: ProjectionHeads,
    encoded: EncodedDataset,
    images: Sequence[str] | np.ndarray,
    region_mask: np.ndarray | None,
) -> Queries:
    """Asks for the captions that describe images."""
    if tf.is_tensor(images):
        images = images.numpy()
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        asked = model.encode_image(_finite(images, region_mask), region_mask)
        vectors = heads.image_vectors(asked)
    else:
        rows = encoded.rows_of(images)
        asked, vectors = encoded.images.read(rows), encoded.vectors[rows]

    def score(query: int, rows: np.ndarray) -> tf.Tensor:
        image = {key: value[query : query + 1] for key, value in asked.items()}
        scores = model.score_encoded(image, encoded.texts.read(rows), 1)[0]
        return scores if encoded.caption_hubness is None else scores - encoded.caption_hubness[rows]

    return Queries(vectors, score)


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
