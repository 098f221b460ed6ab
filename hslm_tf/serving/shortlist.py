"""The first stage of search in the exported graph: one vector an item, and the nearest of them."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.model import HSLM
from hslm_tf.retrieval import shortlist as retrieval_shortlist
from hslm_tf.run_directory import RunDirectory


class Shortlist:
    """Makes the one vector of an image or a caption: of trained heads, or else the mean.

    Without heads it is the mean of the real local features, scaled to unit length: regions and
    words live in the same space.

    Args:
        image_head: takes `"regions"` and `"region_mask"`, gives `"vector"`.
        text_head: takes `"words"` and `"word_mask"`, gives `"vector"`.
    """

    def __init__(
        self, image_head: keras.Model | None = None, text_head: keras.Model | None = None
    ) -> None:
        self._image_head = image_head
        self._text_head = text_head

    @property
    def weights(self) -> list[keras.Variable]:
        """The weights of the heads."""
        heads = (self._image_head, self._text_head)
        return [weight for head in heads if head is not None for weight in head.weights]

    def of_images(self, regions: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Vectors `[n, k]` of local image features `[n, regions, joint_dim]`."""
        if self._image_head is None:
            return _unit_mean(regions, mask)
        return self._image_head({"regions": regions, "region_mask": mask})["vector"]

    def of_texts(self, words: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Vectors `[n, k]` of local text features `[n, words, joint_dim]`."""
        if self._text_head is None:
            return _unit_mean(words, mask)
        return self._text_head({"words": words, "word_mask": mask})["vector"]


class SearchIndex(tf.Module):
    """A collection of encoded images inside the SavedModel.

    Args:
        ids: names of the n images.
        vectors: float32 `[n, k]`, one unit vector an image.
        regions: `[n, regions, joint_dim]`, local image features; kept in their dtype.
        region_mask: boolean `[n, regions]`.
        top_k: number of answers.
        shortlist_size: number of images that are scored exactly.

    Raises:
        ValueError: if there are no images, or `top_k` does not fit into the shortlist.
    """

    def __init__(
        self,
        ids: Sequence[str],
        vectors: np.ndarray,
        regions: np.ndarray,
        region_mask: np.ndarray,
        top_k: int = 10,
        shortlist_size: int = 100,
    ) -> None:
        super().__init__(name="search_index")
        if not len(ids):
            raise ValueError("The collection is empty. Received: len(ids)=0")
        if not 1 <= top_k <= shortlist_size:
            raise ValueError(
                "`top_k` must be between 1 and `shortlist_size`. "
                f"Received: top_k={top_k}, shortlist_size={shortlist_size}"
            )
        self.shortlist_size = min(shortlist_size, len(ids))
        self.top_k = min(top_k, len(ids))
        self._ids = tf.Variable(list(ids), trainable=False, dtype=tf.string)
        self._vectors = tf.Variable(vectors, trainable=False, dtype=tf.float32)
        self._regions = tf.Variable(regions, trainable=False)
        self._region_mask = tf.Variable(region_mask, trainable=False, dtype=tf.bool)

    def nearest(self, vectors: tf.Tensor) -> tf.Tensor:
        """Places of the shortlisted images, int32 `[n, shortlist_size]`, for vectors `[n, k]`."""
        products = tf.matmul(vectors, self._vectors, transpose_b=True)
        return tf.math.top_k(products, self.shortlist_size).indices

    def local_features(self, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Local features, float32, and masks of the images at some places."""
        regions = tf.gather(self._regions, items)
        return tf.cast(regions, tf.float32), tf.gather(self._region_mask, items)

    def ids_of(self, items: tf.Tensor) -> tf.Tensor:
        """Names of the images at some places."""
        return tf.gather(self._ids, items)


def _unit_mean(features: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    # Unit length makes the division by the count unnecessary.
    total = tf.reduce_sum(tf.where(mask[..., None], features, 0.0), axis=1)
    return tf.math.l2_normalize(total, axis=1)


def load_shortlist(run: RunDirectory, model: HSLM) -> Shortlist:
    """Reads the trained heads of a run.

    Args:
        run: the run's directory.
        model: the run's model.

    Returns:
        The heads; without any, the mean of the local features.
    """
    heads = retrieval_shortlist.load_shortlist(run, model)
    return Shortlist(heads.image_head, heads.text_head)


def load_collection(
    path: Path, model: HSLM, top_k: int, shortlist_size: int
) -> tuple[Shortlist, SearchIndex]:
    """Reads a collection of images to bake into an export.

    Args:
        path: a collection saved by `hslm_tf.retrieval.collection`.
        model: the model that it was built with.
        top_k: number of answers.
        shortlist_size: number of images that are scored exactly.

    Returns:
        The heads that the collection's vectors come from, and the collection.

    Raises:
        ValueError: if the collection is of another model, or empty.
    """
    from hslm_tf.retrieval.collection import Collection

    found = Collection.load(path, model)
    index = SearchIndex(
        found.ids,
        np.asarray(found.vectors),
        np.asarray(found.regions),
        np.asarray(found.region_mask),
        top_k,
        shortlist_size,
    )
    return Shortlist(found.shortlist.image_head, found.shortlist.text_head), index
