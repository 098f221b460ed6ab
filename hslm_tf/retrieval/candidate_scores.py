"""Scores of a dataset where each query's nearest items by their vectors have the exact score."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.encoding import (
    IMAGE_BLOCK_SIZE,
    PackedCaptions,
    encode_images,
    pack_captions,
)
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.indexes import open_index
from hslm_tf.retrieval.projection_heads import ProjectionHeads

# Captions of a list that is scored at once, and images whose lists are scored in one call.
_LIST_SIZE = 256
_IMAGES_AT_ONCE = 32
_COLUMNS_AT_ONCE = 256


@dataclass(frozen=True)
class CandidateScores:
    """An approximation of all scores that takes a fraction of their time."""

    # A pair is scored exactly if one of the two is among the nearest of the other: one score serves
    # both directions. All other pairs stand behind, in the order of their vectors.
    heads: Sequence[ProjectionHeads]
    num_candidates: int
    progress: Callable[[int, int], object] | None = None

    def __post_init__(self) -> None:
        if self.num_candidates < 1:
            raise ValueError(
                "`num_candidates` must be at least 1. "
                f"Received: num_candidates={self.num_candidates}"
            )

    def __call__(
        self, models: Sequence[HSLM], dataset: RetrievalDataset, captions: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Scores every image of a dataset against captions, block by block."""
        encoded, image_vectors, caption_vectors = [], [], []
        blocks = list(row_blocks(dataset.num_images, IMAGE_BLOCK_SIZE))
        for model, heads in zip(models, self.heads, strict=True):
            images = encode_images(model, dataset)
            projected = [heads.image_vectors(_slice(images, rows)) for rows in blocks]
            image_vectors.append(np.concatenate(projected))
            vectors = np.empty((dataset.num_captions, heads.dim), np.float32)

            def project(rows, texts, heads=heads, vectors=vectors) -> None:
                vectors[rows] = heads.text_vectors(texts)

            encoded.append((model, images, pack_captions(model, dataset.captions, project)))
            caption_vectors.append(vectors)
        # Inner products of joined vectors are the sums of the members' inner products.
        scale = np.float32(len(encoded) ** -0.5)
        image_vectors = scale * np.concatenate(image_vectors, axis=1)
        caption_vectors = scale * np.concatenate(caption_vectors, axis=1)
        pairs = candidate_pairs(image_vectors, caption_vectors, self.num_candidates)
        scores = [self._scores(*member, pairs) for member in encoded]
        scores = sum(scores[1:], start=scores[0]) / np.float32(len(scores))
        # The encodings are most of the memory, and no longer needed.
        del encoded, images
        yield from _columns(image_vectors, caption_vectors, pairs, scores, captions)

    def _scores(
        self,
        model: HSLM,
        images: dict[str, tf.Tensor],
        captions: PackedCaptions,
        pairs: np.ndarray,
    ) -> np.ndarray:
        """The model's scores of candidate pairs, float32 `[pairs]`."""
        num_images, scores = len(images["region_mask"]), []
        bounds = np.searchsorted(pairs[0], np.arange(num_images + 1))
        for rows in row_blocks(num_images, _IMAGES_AT_ONCE):
            lists = [
                (row - rows[0], first)
                for row in rows
                for first in range(bounds[row], bounds[row + 1], _LIST_SIZE)
            ]
            list_images, starts = np.array(lists).T
            first, last = bounds[rows[0]], bounds[rows[-1] + 1]
            splits = np.append(starts, last) - first
            lists = list_images, pairs[1, first:last], splits
            block = _slice(images, rows)
            scores.append(model.score_lists(block, captions._asdict(), *lists).numpy())
            if self.progress is not None:
                self.progress(len(rows), int(last - first))
        return np.concatenate(scores)


def candidate_pairs(
    image_vectors: np.ndarray, caption_vectors: np.ndarray, num_candidates: int
) -> np.ndarray:
    """Finds the pairs of which one is among the nearest of the other."""
    sides = []
    for queries, items in ((image_vectors, caption_vectors), (caption_vectors, image_vectors)):
        nearest = open_index("brute-force").index(items).search(queries, num_candidates)[1]
        sides.append((np.repeat(np.arange(len(queries)), nearest.shape[1]), nearest.ravel()))
    (images, their_captions), (captions, their_images) = sides
    count = len(caption_vectors)
    codes = np.concatenate([images * count + their_captions, their_images * count + captions])
    return np.stack(np.divmod(np.unique(codes), count))


def _slice(images: dict[str, tf.Tensor], rows: np.ndarray) -> dict[str, tf.Tensor]:
    return {key: value[rows[0] : rows[-1] + 1] for key, value in images.items()}


def _columns(
    image_vectors: np.ndarray,
    caption_vectors: np.ndarray,
    pairs: np.ndarray,
    scores: np.ndarray,
    captions: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The scores of all images and some captions, from those of the candidate pairs."""
    order = np.argsort(pairs[1], kind="stable")
    (images, pair_captions), scores = pairs[:, order], scores[order]
    bounds = np.searchsorted(pair_captions, np.arange(len(caption_vectors) + 1))
    # Products of unit vectors are at most 1, and a little more when rounded.
    behind = float(scores.min()) - 2.0
    for block in row_blocks(len(captions), _COLUMNS_AT_ONCE):
        rows = captions[block]
        products = tf.matmul(image_vectors, caption_vectors[rows], transpose_b=True)
        columns = products.numpy().astype(np.float64) + behind
        for column, row in enumerate(rows):
            of_caption = slice(bounds[row], bounds[row + 1])
            columns[images[of_caption], column] = scores[of_caption]
        yield rows, columns
