"""Cross-attention: words attend to image regions (HSLM Eq. 15-16)."""

import keras
import tensorflow as tf
from keras import ops

from hslm_tf.layers.numerics import l2_normalize, mask_rows, masked_softmax, wide_dtype
from hslm_tf.layers.packed_words import spread_to_words, sum_by_caption

ACTIVATIONS = ("sigmoid", "softmax", "leaky_softmax", "hard", "dot_sigmoid")
# Slope of negative cosines in `"leaky_softmax"`, as SCAN and SGRAF have it.
_LEAK = 0.1


@keras.saving.register_keras_serializable(package="hslm_tf")
class CrossAttention(keras.layers.Layer):
    """Builds one attended image vector per word (HSLM Eq. 15-16).

    Row j of `R_a*` is `sum_i a_ji r_i`, with one weight for word j and region i.

    Args:
        activation: `"sigmoid"` is `sigmoid(gamma cos(t_j, r_i))`, `"softmax"` a
            softmax of `gamma cos(t_j, r_i)` over the regions, `"leaky_softmax"` the same after
            negative cosines are multiplied by 0.1 and the cosines of each region are scaled to unit
            length over the words of the caption (SCAN, text to image, and SGRAF), so that words
            compete for regions, `"hard"` gives each word its one most similar region (CHAN),
            `"dot_sigmoid"` is `sigmoid(t_j . r_i)`, as the paper prints it.
        scale: initial gamma, a trainable scalar; `"hard"` and `"dot_sigmoid"` have none.
        normalize: scales the attended vectors to unit length.
        unit_inputs: says that words and real regions are unit vectors already, so that their dot
            product is their cosine.

    Call arguments:
        words: `[blocks, words, width]`, local text features E*, packed.
        regions: `[blocks, images, regions, width]`, local image features R*.
        region_mask: boolean `[blocks, images, regions]`, True for real regions, or None.
        segment_ids: int32 `[blocks, words]`, the caption of each word, -1 for padding; None: all
            words of a block are one caption. Only `"leaky_softmax"` looks at it.

    Returns:
        The attended vectors `[blocks, images, words, width]` and the weights
        `[blocks, images, words, regions]` that make them: `attended = weights @ regions`, the
        normalization included. The weights are float32 (float64 in a float64 layer).

    Raises:
        ValueError: if `activation` is unknown.
    """

    def __init__(
        self,
        activation: str = "sigmoid",
        scale: float = 10.0,
        normalize: bool = True,
        unit_inputs: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {', '.join(ACTIVATIONS)}. "
                f"Received: activation={activation}"
            )
        self.activation = activation
        self.scale = scale
        self.normalize = normalize
        self.unit_inputs = unit_inputs
        self.supports_masking = True

    def compute_mask(self, words: tf.Tensor, mask: tf.Tensor | None) -> None:
        """Returns no mask: `segment_ids` says which words are padding."""

    def build(
        self,
        words_shape: tuple,
        regions_shape: tuple,
        region_mask_shape=None,
        segment_ids_shape=None,
    ) -> None:
        if words_shape[-1] != regions_shape[-1]:
            raise ValueError(
                "Words and regions must have the same width. "
                f"Received: words_shape={words_shape}, regions_shape={regions_shape}"
            )
        if self.activation not in ("hard", "dot_sigmoid"):
            self.gamma = self.add_weight(
                name="gamma", shape=(), initializer=keras.initializers.Constant(self.scale)
            )

    def call(
        self,
        words: tf.Tensor,
        regions: tf.Tensor,
        region_mask: tf.Tensor | None = None,
        segment_ids: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        cosines = self._cosines(words, regions)
        if self.activation == "hard":
            return self._nearest(cosines, regions, region_mask)
        if self.activation == "leaky_softmax":
            cosines = _scale_over_words(ops.maximum(cosines, _LEAK * cosines), segment_ids)
        weights = self._weights(cosines, region_mask)
        if not self.normalize:
            return ops.matmul(ops.cast(weights, regions.dtype), regions), weights
        few = ops.shape(weights)[2] <= ops.shape(weights)[3]
        return ops.cond(
            few, lambda: _few_scaled(weights, regions), lambda: _many_scaled(weights, regions)
        )

    def alignment(
        self, words: tf.Tensor, regions: tf.Tensor, region_mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Cosine of every word and its attended vector, both unit, `[blocks, images, words]`."""
        # With weights a, cosines c and products G of the regions it is `a . c / sqrt(a G a^T)`;
        # with `"hard"` attention, the largest of c. The vector itself is not needed.
        cosines = self._cosines(words, regions)
        if self.activation == "hard":
            largest = tf.reduce_max(_masked(cosines, region_mask), axis=-1)
            return tf.where(largest < -1.5, tf.zeros((), largest.dtype), largest)
        weights = self._weights(cosines, region_mask)
        lengths = _reciprocal_lengths(_squared_lengths(weights, regions), regions.dtype)
        return tf.reduce_sum(weights * cosines, axis=-1) * lengths[..., 0]

    def _cosines(self, words: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
        """Cosines (or dot products) in float32, `[blocks, images, words, regions]`."""
        if self.activation != "dot_sigmoid" and not self.unit_inputs:
            words, regions = l2_normalize(words), l2_normalize(regions)
        cosines = ops.einsum("gwd,gbnd->gbwn", words, regions)
        return ops.cast(cosines, wide_dtype(cosines))

    def _weights(self, logits: tf.Tensor, region_mask: tf.Tensor | None) -> tf.Tensor:
        """The weights a_ji of Eq. 16 in float32, `[blocks, images, words, regions]`."""
        if self.activation != "dot_sigmoid":
            logits = logits * ops.cast(self.gamma, logits.dtype)
        mask = None if region_mask is None else region_mask[..., None, :]
        if self.activation.endswith("softmax"):
            return masked_softmax(logits, mask)
        weights = ops.sigmoid(logits)
        return weights if mask is None else ops.where(mask, weights, 0.0)

    def _nearest(
        self, cosines: tf.Tensor, regions: tf.Tensor, region_mask: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Every word's most similar region, and a weight for that one alone."""
        cosines = _masked(cosines, region_mask)
        nearest = tf.argmax(cosines, axis=-1, output_type=tf.int32)
        weights = tf.one_hot(nearest, tf.shape(regions)[2], dtype=cosines.dtype)
        if region_mask is not None:
            weights = tf.where(region_mask[..., None, :], weights, tf.zeros((), weights.dtype))
            regions = mask_rows(regions, region_mask)
        if self.normalize and not self.unit_inputs:
            wide = tf.cast(regions, weights.dtype)
            squared = tf.reduce_sum(wide * wide, axis=-1, keepdims=True)
            lengths = _reciprocal_lengths(squared, regions.dtype)
            regions = tf.cast(wide * lengths, regions.dtype)
            weights = weights * tf.linalg.matrix_transpose(lengths)
        return tf.gather(regions, nearest, axis=2, batch_dims=2), weights

    def compute_output_spec(
        self,
        words: keras.KerasTensor,
        regions: keras.KerasTensor,
        region_mask: keras.KerasTensor | None = None,
        segment_ids: keras.KerasTensor | None = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        blocks, num_words, width = words.shape
        images, num_regions = regions.shape[1:3]
        attended = keras.KerasTensor((blocks, images, num_words, width), self.compute_dtype)
        weights_shape = blocks, images, num_words, num_regions
        return attended, keras.KerasTensor(weights_shape, wide_dtype(attended))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "activation": self.activation,
            "scale": self.scale,
            "normalize": self.normalize,
            "unit_inputs": self.unit_inputs,
        }


def _few_scaled(weights: tf.Tensor, regions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Attended vectors at unit length and their weights, for few words."""
    # Lengths of the vectors themselves: products of all regions would be more numbers.
    attended = tf.matmul(tf.cast(weights, regions.dtype), regions)
    wide = tf.cast(attended, weights.dtype)
    scale = _reciprocal_lengths(tf.reduce_sum(wide * wide, -1, keepdims=True), regions.dtype)
    return tf.cast(wide * scale, regions.dtype), weights * scale


def _many_scaled(weights: tf.Tensor, regions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same for many words."""
    # Lengths from 36 x 36 products, in place of several passes over vectors of the joint width.
    # No custom gradient: within a condition in a loop, TensorFlow loses what that captures.
    weights = weights * _reciprocal_lengths(_squared_lengths(weights, regions), regions.dtype)
    return tf.matmul(tf.cast(weights, regions.dtype), regions), weights


def _squared_lengths(weights: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
    """Squared length of each attended vector, `a (R R^T) a^T`, `[blocks, images, words, 1]`."""
    wide = tf.cast(regions, weights.dtype)
    gram = tf.matmul(wide, wide, transpose_b=True)
    return tf.reduce_sum(tf.matmul(weights, gram) * weights, axis=-1, keepdims=True)


def _masked(cosines: tf.Tensor, region_mask: tf.Tensor | None) -> tf.Tensor:
    """Cosines, and -2 for regions that are padding."""
    if region_mask is None:
        return cosines
    return tf.where(region_mask[..., None, :], cosines, tf.constant(-2, cosines.dtype))


def _reciprocal_lengths(squared_lengths: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """One over the length of each attended vector, zero for those of no length."""
    # Regions that are all zero, or cancel, have no direction: float16 cannot hold their factor, and
    # the attended vector is zero with any.
    smallest = 1e-8 if dtype == tf.float16 else 1e-12
    lengths = tf.math.rsqrt(tf.maximum(squared_lengths, smallest))
    return tf.where(squared_lengths > smallest, lengths, tf.zeros((), lengths.dtype))


def _scale_over_words(cosines: tf.Tensor, segment_ids: tf.Tensor | None) -> tf.Tensor:
    """Unit length for the cosines of each region and all words of a caption."""
    if segment_ids is None:
        squares = ops.sum(ops.square(cosines), axis=2, keepdims=True)
        return cosines * ops.rsqrt(ops.maximum(squares, 1e-12))
    squares = sum_by_caption(ops.square(cosines), segment_ids)
    return cosines * spread_to_words(ops.rsqrt(ops.maximum(squares, 1e-12)), segment_ids)
