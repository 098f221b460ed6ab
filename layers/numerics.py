"""Numerical helpers shared by the layers: float32 normalization and masks."""

import keras
import tensorflow as tf
from keras import ops

from hslm_tf.layers.custom_gradient import custom_gradient


def wide_dtype(x: keras.KerasTensor) -> str:
    """Returns the dtype for normalizations: float32, or float64 where the input already is."""
    return "float64" if keras.backend.standardize_dtype(x.dtype) == "float64" else "float32"


def l2_normalize(x: keras.KerasTensor, axis: int = -1, epsilon: float = 1e-12) -> keras.KerasTensor:
    """Scales vectors to unit length; a vector of nearly no length has no gradient."""
    wide = ops.cast(x, wide_dtype(x))
    return ops.cast(_unit(wide, axis, epsilon), x.dtype)


def _unit(x: tf.Tensor, axis: int, epsilon: float) -> tf.Tensor:
    """`l2_normalize` with its gradient written out, which takes half the passes over `x`."""

    @custom_gradient
    def unit(x: tf.Tensor) -> tf.Tensor:
        length = tf.raw_ops.EuclideanNorm(input=x, axis=axis, keep_dims=True)
        scale = 1 / tf.maximum(length, epsilon**0.5)
        y = x * scale

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            along = tf.reduce_sum(upstream * y, axis=axis, keepdims=True)
            return (upstream - y * along) * tf.where(length > epsilon**0.5, scale, 0)

        return y, gradient

    return unit(x)


def affine(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`x kernel + bias`, computed as a product of rows."""
    rows = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel)
    mapped = tf.reshape(rows, tf.concat([tf.shape(x)[:-1], [kernel.shape[-1]]], axis=0))
    return tf.nn.bias_add(tf.ensure_shape(mapped, [*x.shape[:-1], kernel.shape[-1]]), bias)


def masked_softmax(
    logits: keras.KerasTensor, mask: keras.KerasTensor | None, axis: int = -1
) -> keras.KerasTensor:
    """Softmax in float32 at least, over the real entries only."""
    logits = ops.cast(logits, wide_dtype(logits))
    if mask is None:
        return ops.softmax(logits, axis=axis)
    weights = ops.softmax(ops.where(mask, logits, -1e30), axis=axis)
    return ops.where(mask, weights, 0.0)


def num_valid(
    mask: keras.KerasTensor | None, x: keras.KerasTensor, dtype: str
) -> keras.KerasTensor:
    """Counts the real rows of each matrix, the M and N of the paper's denominators."""
    if mask is None:
        return ops.cast(ops.shape(x)[-2], dtype)
    count = ops.sum(ops.cast(mask, dtype), axis=-1)[..., None, None]
    return ops.maximum(count, 1)


def mask_rows(x: keras.KerasTensor, mask: keras.KerasTensor | None) -> keras.KerasTensor:
    """Zeroes the rows of `x` (`[..., rows, width]`) that `mask` (`[..., rows]`) calls padding."""
    if mask is None:
        return x
    return ops.where(mask[..., None], x, ops.zeros((), dtype=x.dtype))
