"""Numerical helpers shared by the layers: float32 normalization and masks."""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from hslm_tf.layers.custom_gradient import custom_gradient

# A vector that is shorter has no direction.
_SHORTEST = 1e-12**0.5


def wide_dtype(x: tf.Tensor) -> str:
    """Returns the dtype for normalizations: float32, or float64 where the input already is."""
    return "float64" if keras.backend.standardize_dtype(x.dtype) == "float64" else "float32"


def l2_normalize(x: tf.Tensor) -> tf.Tensor:
    """Scales vectors to unit length, in float32 at least; in the dtype of `x`."""
    return ops.cast(_unit(ops.cast(x, wide_dtype(x))), x.dtype)


@custom_gradient
def _unit(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Unit vectors, with their gradient written out, which takes half the passes over `x`."""
    length = tf.raw_ops.EuclideanNorm(input=x, axis=-1, keep_dims=True)
    scale = 1 / tf.maximum(length, _SHORTEST)
    y = x * scale

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        along = tf.reduce_sum(upstream * y, axis=-1, keepdims=True)
        # A vector of nearly no length, such as a masked row, has no direction. The true slope
        # there is a million times that of others, or NaN at zero.
        return (upstream - y * along) * tf.where(length > _SHORTEST, scale, 0)

    return y, gradient


def affine(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
    """`x kernel`, plus `bias` if there is one, computed as a product of rows."""
    # Keras makes a far larger graph of a product with more than two dimensions. The shape between
    # product and bias keeps TensorFlow from fusing them: a bfloat16 product with a fused bias takes
    # up to twice as long on cores with AMX.
    rows = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel)
    mapped = tf.reshape(rows, tf.concat([tf.shape(x)[:-1], [kernel.shape[-1]]], axis=0))
    mapped = tf.ensure_shape(mapped, [*x.shape[:-1], kernel.shape[-1]])
    return mapped if bias is None else tf.nn.bias_add(mapped, bias)


def masked_softmax(logits: tf.Tensor, mask: tf.Tensor | None, axis: int = -1) -> tf.Tensor:
    """Softmax in float32 at least, over the real entries only."""
    logits = ops.cast(logits, wide_dtype(logits))
    if mask is None:
        return ops.softmax(logits, axis=axis)
    weights = ops.softmax(ops.where(mask, logits, -1e30), axis=axis)
    return ops.where(mask, weights, 0.0)


def num_valid(mask: tf.Tensor | None, x: tf.Tensor, dtype: str) -> tf.Tensor:
    """Counts the real rows of each matrix, the M and N of the paper's denominators."""
    if mask is None:
        return ops.cast(ops.shape(x)[-2], dtype)
    count = ops.sum(ops.cast(mask, dtype), axis=-1)[..., None, None]
    return ops.maximum(count, 1)


def mask_rows(x: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Zeroes the rows of `x` (`[..., rows, width]`) that `mask` (`[..., rows]`) calls padding."""
    if mask is None:
        return x
    return ops.where(mask[..., None], x, ops.zeros((), dtype=x.dtype))
