"""A collection inside the SavedModel, and the first stage of a search in it."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hslm_tf.retrieval.collection import Collection


class SearchIndex(tf.Module):
    """A collection of encoded images inside the SavedModel."""

    def __init__(
        self,
        ids: Sequence[str],
        vectors: np.ndarray,
        regions: np.ndarray,
        region_mask: np.ndarray,
        top_k: int = 10,
        num_candidates: int = 100,
        hubness: np.ndarray | None = None,
    ) -> None:
        super().__init__(name="search_index")
        if not len(ids):
            raise ValueError("The collection is empty. Received: len(ids)=0")
        if not 1 <= top_k <= num_candidates:
            raise ValueError(
                "`top_k` must be between 1 and `num_candidates`. "
                f"Received: top_k={top_k}, num_candidates={num_candidates}"
            )
        self.num_candidates = min(num_candidates, len(ids))
        self.top_k = min(top_k, len(ids))
        self._ids = tf.Variable(list(ids), trainable=False, dtype=tf.string)
        self._vectors = tf.Variable(vectors, trainable=False, dtype=tf.float32)
        self._regions = tf.Variable(regions, trainable=False)
        self._region_mask = tf.Variable(region_mask, trainable=False, dtype=tf.bool)
        hubness = np.zeros(len(ids)) if hubness is None else hubness
        self._hubness = tf.Variable(hubness, trainable=False, dtype=tf.float32)

    @classmethod
    def from_collection(
        cls, collection: Collection, top_k: int = 10, num_candidates: int = 100
    ) -> "SearchIndex":
        """Takes the images of a collection."""
        encoded = collection.encoded
        return cls(
            encoded.ids,
            encoded.vectors,
            np.asarray(encoded.images.regions),
            encoded.images.region_mask,
            top_k,
            num_candidates,
            encoded.image_hubness,
        )

    def nearest(self, vectors: tf.Tensor) -> tf.Tensor:
        """Places of the candidates, int32 `[q, num_candidates]`, for vectors `[q, dim]`."""
        products = tf.matmul(vectors, self._vectors, transpose_b=True)
        return tf.math.top_k(products, self.num_candidates).indices

    def local_features(self, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Local features, float32, and masks of the images at the given places."""
        regions = tf.gather(self._regions, items)
        return tf.cast(regions, tf.float32), tf.gather(self._region_mask, items)

    def hubness_of(self, items: tf.Tensor) -> tf.Tensor:
        """What is taken off the scores of the images at the given places."""
        return tf.gather(self._hubness, items)

    def ids_of(self, items: tf.Tensor) -> tf.Tensor:
        """Names of the images at the given places."""
        return tf.gather(self._ids, items)
