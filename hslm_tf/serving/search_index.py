"""A collection inside the SavedModel."""

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
        self.ids = tf.Variable(encoded.ids, trainable=False)
        self.vectors = tf.Variable(encoded.vectors, trainable=False, dtype=tf.float32)
        self.regions = tf.Variable(np.asarray(encoded.images.regions), trainable=False)
        self.region_mask = tf.Variable(encoded.images.region_mask, trainable=False)
        self.hubness = tf.Variable(hubness, trainable=False, dtype=tf.float32)
