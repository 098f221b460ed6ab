"""Attention pooling of local features into one global vector (HSLM Sec. 3.5)."""

import keras
import tensorflow as tf
from keras import ops

from hslm_tf.layers.numerics import affine, l2_normalize, masked_softmax, num_valid, wide_dtype
from hslm_tf.layers.packed_words import (
    num_captions,
    softmax_by_caption,
    spread_to_words,
    sum_by_caption,
)


@keras.saving.register_keras_serializable(package="hslm_tf")
class AttentionPooling(keras.layers.Layer):
    """Fuses local vectors into a global one, with their mean as the query (HSLM Sec. 3.5).

    `q = W_Q mean + b_Q`, `k_j = W_K x_j`, `p = softmax(q . k_j / sqrt(width))` over the real
    vectors, and the output is `sum_j p_j x_j` scaled to unit length. One head, no value
    projection (as SGRAF). A bias of the keys would cancel in the softmax, so there is none.

    Call arguments:
        vectors: `[..., rows, width]`, local features.
        mask: boolean `[..., rows]`, True for real rows (or regions); None where all are real.
        weights: `[blocks, images, words, regions]`, attention weights of words. With them the layer
            pools attended vectors: that of word w is `weights[w] @ vectors`, and `vectors` are the
            regions, `[blocks, images, regions, width]`. `mask` is ignored then, because padding
            regions have the weight 0.
        segment_ids: int32 `[blocks, words]`, needed with `weights`; see `packed_words`.
        region_products: `[blocks, images, regions + 1, regions]`, from the method
            `region_products`. They save time with `weights` of more captions than half the regions.
        attended: `[blocks, images, words, width]`, the attended vectors where they are known; they
            are computed otherwise, unless there are `region_products`.

    Returns:
        Unit vectors: `[..., width]`, or `[blocks, images, captions, width]` with `weights`.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        # Keras would cast the float32 attention weights to the compute dtype, and round them.
        self.autocast = False

    def compute_mask(self, vectors: tf.Tensor, mask: tf.Tensor | None) -> None:
        """Returns no mask: the output has one row, which is never padding."""

    def build(self, vectors_shape: tuple) -> None:
        width = vectors_shape[-1]
        self.query = keras.layers.Dense(width, dtype=self.dtype_policy, name="query")
        self.key = keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name="key")
        self.query.build(vectors_shape)
        self.key.build(vectors_shape)

    def call(
        self,
        vectors: tf.Tensor,
        mask: tf.Tensor | None = None,
        weights: tf.Tensor | None = None,
        segment_ids: tf.Tensor | None = None,
        region_products: tf.Tensor | None = None,
        attended: tf.Tensor | None = None,
    ) -> tf.Tensor:
        vectors = ops.cast(vectors, self.compute_dtype)
        if weights is not None:
            if region_products is not None:
                return self._pool_weights(weights, vectors, segment_ids, region_products)
            if attended is None:
                attended = tf.matmul(tf.cast(weights, vectors.dtype), vectors)
            return self._pool_captions(tf.cast(attended, vectors.dtype), segment_ids)
        count = num_valid(mask, vectors, wide_dtype(vectors))
        # Padding counts as 0 in the sum; a masked copy of `vectors` would be kept for the gradient.
        real = ops.ones_like(vectors[..., 0]) if mask is None else ops.cast(mask, vectors.dtype)
        total = ops.matmul(real[..., None, :], vectors)
        queries = self._key_queries(ops.cast(total / ops.cast(count, total.dtype), vectors.dtype))
        logits = ops.matmul(vectors, ops.swapaxes(queries, -1, -2))[..., 0]
        weights = masked_softmax(self._scaled(logits, vectors.shape[-1]), mask)
        pooled = ops.matmul(ops.cast(weights, vectors.dtype)[..., None, :], vectors)
        return l2_normalize(pooled[..., 0, :])

    def _key_queries(self, means: tf.Tensor) -> tf.Tensor:
        """`W_K^T q`: `q . W_K x = (W_K^T q) . x`, so that keys need not be formed."""
        kernel, bias, key = (
            ops.cast(x, means.dtype) for x in (self.query.kernel, self.query.bias, self.key.kernel)
        )
        return affine(affine(means, kernel, bias), tf.transpose(key))

    def region_products(self, regions: tf.Tensor) -> tf.Tensor:
        """Query-key products P of an image's regions, `[images, regions + 1, regions]`."""
        # Attended vectors and their mean are weighted sums of an image's regions R. With the
        # weights m of the mean and a_j of word j,
        # `q . k_j = (m R W_Q + b_Q) . (a_j R W_K) = [m, 1] P a_j`: P serves every caption.
        regions = tf.cast(regions, self.compute_dtype)
        key = tf.cast(self.key.kernel, self.compute_dtype)
        query = tf.cast(self.query.kernel, self.compute_dtype)
        bias = tf.cast(self.query.bias, self.compute_dtype)[None]
        keys = tf.tensordot(regions, tf.matmul(query, key, transpose_b=True), 1)
        products = tf.matmul(keys, regions, transpose_b=True)
        offsets = tf.tensordot(regions, tf.matmul(key, bias, transpose_b=True), 1)
        return tf.concat([products, tf.linalg.matrix_transpose(offsets)], axis=-2)

    def _pool_weights(
        self,
        weights: tf.Tensor,
        regions: tf.Tensor,
        segment_ids: tf.Tensor,
        region_products: tf.Tensor,
    ) -> tf.Tensor:
        """Pools attended vectors caption by caption, without the vectors and their keys."""
        weights = tf.cast(weights, wide_dtype(weights))
        counts = sum_by_caption(tf.ones_like(weights[:, :1, :, :1]), segment_ids)
        mean = tf.math.divide_no_nan(sum_by_caption(weights, segment_ids), counts)
        mean = tf.concat([mean, tf.ones_like(mean[..., :1])], axis=-1)
        queries = tf.matmul(tf.cast(mean, region_products.dtype), region_products)
        queries = spread_to_words(tf.cast(queries, weights.dtype), segment_ids)
        logits = tf.reduce_sum(queries * weights, axis=-1)
        attention = softmax_by_caption(self._scaled(logits, regions.shape[-1]), segment_ids)
        pooled = sum_by_caption(attention[..., None] * weights, segment_ids)
        return l2_normalize(tf.matmul(tf.cast(pooled, regions.dtype), regions))

    def _pool_captions(self, vectors: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
        """Pools the attended vectors themselves: for few captions there are fewer than regions."""
        captions = tf.range(num_captions(segment_ids))
        real = (segment_ids[:, None] == captions[:, None])[:, None]
        share = tf.cast(real, vectors.dtype)
        share = tf.math.divide_no_nan(share, tf.reduce_sum(share, axis=-1, keepdims=True))
        queries = self._key_queries(tf.matmul(share, vectors))
        logits = tf.matmul(queries, vectors, transpose_b=True)
        weights = masked_softmax(self._scaled(logits, vectors.shape[-1]), real)
        return l2_normalize(tf.matmul(tf.cast(weights, vectors.dtype), vectors))

    def _scaled(self, logits: tf.Tensor, width: int) -> tf.Tensor:
        return ops.cast(logits, wide_dtype(logits)) * width**-0.5

    def compute_output_spec(
        self,
        vectors: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        weights: keras.KerasTensor | None = None,
        **kwargs: keras.KerasTensor | None,
    ) -> keras.KerasTensor:
        rows = vectors.shape[:-2] if weights is None else (*weights.shape[:2], None)
        return keras.KerasTensor((*rows, vectors.shape[-1]), self.compute_dtype)

    def get_config(self) -> dict:
        # Keras refuses to save a layer without this method whose dtype is a policy object.
        return super().get_config()
