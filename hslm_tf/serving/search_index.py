"""A collection inside the SavedModel, and the first stage of a search in it."""

import numpy as np
import tensorflow as tf

from hslm_tf.retrieval.collection import Collection


class SearchIndex(tf.Module):
    """The images of a collection; their regions keep the type of the collection."""

    def __init__(self, collection: Collection, top_k: int = 10, num_candidates: int = 100) -> None:
        super().__init__(name="search_index")
        if not 1 <= top_k <= num_candidates:
            raise ValueError(
                "`top_k` must be between 1 and `num_candidates`. "
                f"Received: top_k={top_k}, num_candidates={num_candidates}"
            )
        encoded, count = collection.encoded, len(collection)
        self.num_candidates, self.top_k = min(num_candidates, count), min(top_k, count)
        hubness = np.zeros(count) if encoded.image_hubness is None else encoded.image_hubness
        self._ids = tf.Variable(encoded.ids, trainable=False, dtype=tf.string)
        self._vectors = tf.Variable(encoded.vectors, trainable=False, dtype=tf.float32)
        self._regions = tf.Variable(np.asarray(encoded.images.regions), trainable=False)
        self._region_mask = tf.Variable(encoded.images.region_mask, trainable=False, dtype=tf.bool)
        self._hubness = tf.Variable(hubness, trainable=False, dtype=tf.float32)

    def nearest(self, vectors: tf.Tensor) -> tf.Tensor:
        """Places of the candidates, int32 `[q, num_candidates]`, for vectors `[q, dim]`."""
        products = tf.matmul(vectors, self._vectors, transpose_b=True)
        return tf.math.top_k(products, self.num_candidates).indices

    def local_features(self, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Local features, float32, and masks of some images."""
        regions = tf.gather(self._regions, items)
        return tf.cast(regions, tf.float32), tf.gather(self._region_mask, items)

    def hubness_of(self, items: tf.Tensor) -> tf.Tensor:
        """Hubness of some images, which is taken off their scores."""
        return tf.gather(self._hubness, items)

    def ids_of(self, items: tf.Tensor) -> tf.Tensor:
        """Ids of some images."""
        return tf.gather(self._ids, items)
