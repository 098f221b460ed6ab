"""Searches images and captions in two stages."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import tensorflow as tf

from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.encoded_dataset import EncodedDataset
from hslm_tf.retrieval.indexes import Index
from hslm_tf.retrieval.indexes.brute_force import BruteForceIndex
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.retrieval.reranking import Hit, retrieve_and_rerank

Side = Literal["images", "captions"]
# Images of one block of the matcher.
_IMAGE_BLOCK_SIZE = 50


class Searcher:
    """Finds images for captions and captions for images.

    A search has two stages. Inner products with one vector an item give candidates; the candidates
    get their exact score from the model. What is approximate is only which items are candidates,
    and the storage type of the local features.

    Args:
        model: the model.
        heads: its projection heads.
        encoded: images and captions, encoded by the model.
    """

    def __init__(self, model: HSLM, heads: ProjectionHeads, encoded: EncodedDataset) -> None:
        self.model, self.heads, self.encoded = model, heads, encoded
        self.use_index(lambda side: BruteForceIndex())

    @property
    def ids(self) -> list[str]:
        """Id of every image."""
        return self.encoded.ids

    @property
    def captions(self) -> list[str]:
        """Every caption."""
        return self.encoded.captions

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def use_index(self, make: Callable[[Side], Index]) -> None:
        """Chooses what finds the candidates; brute force by default.

        Args:
            make: gives an empty index for the images, and another for the captions. They take in
                the vectors when they are first asked, and again after `add` and `remove`.
        """
        self._make_index = make
        self._indexes: dict[Side, Index] = {}

    def search(
        self, captions: Sequence[str], k: int = 10, num_candidates: int | None = 100
    ) -> list[list[Hit]]:
        """Finds images that captions describe.

        Args:
            captions: q captions; of one longer than the model's `max_tokens`, the beginning counts.
            k: how many images to find for each.
            num_candidates: images whose exact score is computed, at least k; None for all.

        Returns:
            For every caption its min(k, n) best images, best first. Of equal scores the image that
            was added first wins.

        Raises:
            ValueError: if there are no captions, one has no words, or a number is less than 1.

        Example:
            >>> collection = hslm_tf.Collection.build(model, dataset)
            >>> for hit in collection.search(["a dog runs"], k=2)[0]:
            ...     print(hit.item, hit.score)
        """
        texts = self.model.encode_text(captions)
        # Besides its words, every caption has a <start> and an <end>.
        empty = np.flatnonzero(np.sum(texts["word_mask"], axis=1) <= 2)
        if len(empty):
            raise ValueError(f"A caption has no words. Received: {captions[empty[0]]!r}")

        def score(query: int, rows: np.ndarray) -> tf.Tensor:
            text = {key: value[query : query + 1] for key, value in texts.items()}
            images = self.encoded.images.read(rows)
            return self.model.score_encoded(images, text, _IMAGE_BLOCK_SIZE)[:, 0]

        queries = self.heads.text_vectors(texts)
        index = partial(self._index, "images")
        return retrieve_and_rerank(queries, index, score, self.ids, k, num_candidates)

    def search_by_image(
        self,
        images: Sequence[str] | np.ndarray,
        k: int = 10,
        num_candidates: int | None = 100,
        region_mask: np.ndarray | None = None,
    ) -> list[list[Hit]]:
        """Finds captions that describe images.

        Args:
            images: ids of q images of the collection, or region features of others,
                `[q, N, region_dim]`.
            k: how many captions to find for each.
            num_candidates: captions whose exact score is computed, at least k; None for all.
            region_mask: bool `[q, N]`, True for real regions, with region features; None for all.

        Returns:
            For every image its min(k, m) best captions, best first.

        Raises:
            ValueError: if an image is unknown or has no region, region features have another width
                or are not finite, or a number is less than 1.
        """
        if isinstance(images, np.ndarray) and images.dtype.kind == "f":
            encoded = self.model.encode_image(_finite(images, region_mask), region_mask)
            queries = self.heads.image_vectors(encoded)
        else:
            rows = self.encoded.rows_of(images)
            encoded, queries = self.encoded.images.read(rows), self.encoded.vectors[rows]

        def score(query: int, rows: np.ndarray) -> tf.Tensor:
            image = {key: value[query : query + 1] for key, value in encoded.items()}
            return self.model.score_encoded(image, self.encoded.texts.read(rows), 1)[0]

        index = partial(self._index, "captions")
        return retrieve_and_rerank(queries, index, score, self.captions, k, num_candidates)

    def _index(self, side: Side) -> Index:
        if side not in self._indexes:
            encoded = self.encoded
            vectors = encoded.vectors if side == "images" else encoded.caption_vectors
            self._indexes[side] = self._make_index(side).index(vectors)
        return self._indexes[side]


def _finite(regions: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Region features with zeros for padding, whatever stood there; real ones must be finite."""
    if mask is None:
        mask = np.ones(regions.shape[:2], bool)
    if regions.ndim != 3 or mask.shape != regions.shape[:2]:
        # The model says what is wrong.
        return regions
    if not np.isfinite(regions[mask]).all():
        raise ValueError("Region features must be finite. Received: NaN or infinity")
    return np.where(mask[..., None], regions, 0)
