"""Similarity representation of two vectors from different modalities (HSLM Eq. 17-19).

The l2 norm of Eq. 17 removes the length of `W (m1 - m2)^2`. So with b = 0 the squared distance
D = |m1 - m2|^2 is lost: with random weights the score does not depend on how far apart two vectors
are. With the start `"distance"` half of W's columns start near 1 with b = 0, which yields D.
The other half starts near 0 with b = 1, a constant to compare with. The weights of the score
(Eq. 22) start at -1 for the first half and 1 for the second, divided by the square root of half the
units. Then the score starts as `(1 - D) / sqrt(1 + D^2)`.
"""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from hslm_tf.layers.custom_gradient import custom_gradient
from hslm_tf.layers.numerics import l2_normalize, wide_dtype

STARTS = ("distance", "random")


def distance_kernel(shape: tuple, dtype: str | None = None) -> tf.Tensor:
    """Starts W of Eq. 17, `[width, units]`."""
    noise = keras.initializers.RandomNormal(stddev=0.1)(shape, dtype=dtype)
    return noise + _first_half(shape, dtype)


def distance_bias(shape: tuple, dtype: str | None = None) -> tf.Tensor:
    """Starts b of Eq. 17, `[units]`."""
    return 1 - _first_half(shape, dtype)


def falling_score(shape: tuple, dtype: str | None = None) -> tf.Tensor:
    """Starts the weights of the score, `[units, 1]`."""
    falling = 1 - 2 * _first_half(shape[:1], dtype)
    return ops.reshape(falling, shape) * max(shape[0] // 2, 1) ** -0.5


def _first_half(shape: tuple, dtype: str | None) -> tf.Tensor:
    """1 in the first half of the last axis, 0 in the rest."""
    units = shape[-1]
    first = ops.cast(ops.arange(units) < units // 2, dtype or keras.config.floatx())
    return ops.broadcast_to(first, shape)


@custom_gradient
def _product_of_squares(
    text: tf.Tensor, image: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """`(text - image)^2 kernel`; its gradient takes three passes over all pairs, not five."""
    squares = tf.math.squared_difference(text, image)
    rows = tf.reshape(squares, [-1, kernel.shape[0]])
    shape = tf.shape(squares)
    product = tf.reshape(tf.matmul(rows, kernel), tf.concat([shape[:-1], kernel.shape[1:]], 0))
    product = tf.ensure_shape(product, [*squares.shape[:-1], kernel.shape[1]])

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        upstream = tf.reshape(upstream, [-1, kernel.shape[1]])
        slopes = tf.reshape(tf.matmul(upstream, 2 * kernel, transpose_b=True), shape)
        of_pairs = slopes * (image - text)
        of_text, of_image = (
            tf.reduce_sum(of_pairs, tf.where(tf.shape(x) == 1)[:, 0], keepdims=True)
            for x in (text, image)
        )
        # A product of few rows and many columns is a quarter faster than one of many and few.
        of_kernel = tf.transpose(tf.matmul(upstream, rows, transpose_a=True))
        return -of_text, of_image, of_kernel

    return product, gradient


@keras.saving.register_keras_serializable(package="hslm_tf")
class SimilarityRepresentation(keras.layers.Layer):
    """A unit vector that says how two vectors differ (HSLM Eq. 17, SGRAF Sec. 3.2).

    `S(m1, m2) = l2norm(W (m1 - m2)^2 + b)`; the same formula on word vectors against attended
    image vectors (Eq. 18) and on the global vectors (Eq. 19), each with its weights.

    Args:
        units: width of the similarity vector; the paper gives none, SGRAF uses 256.
        start: initial W and b. `"distance"`: the vector shows how far apart the two vectors are,
            see the module; `"random"`: those of a Dense layer.

    Call arguments:
        text: `[..., width]`.
        image: `[..., width]`, of the same rank, broadcast against `text`.

    Returns:
        `[..., units]`, unit vectors in float32 (float64 in a float64 layer).
    """

    def __init__(self, units: int = 256, start: str = "distance", **kwargs) -> None:
        super().__init__(**kwargs)
        if start not in STARTS:
            raise ValueError(f"`start` must be one of {', '.join(STARTS)}. Received: start={start}")
        if units < 1:
            raise ValueError(f"`units` must be at least 1. Received: units={units}")
        self.units = units
        self.start = start

    def build(self, text_shape: tuple, image_shape: tuple) -> None:
        if text_shape[-1] != image_shape[-1]:
            raise ValueError(
                "Both vectors must have the same width. "
                f"Received: text_shape={text_shape}, image_shape={image_shape}"
            )
        initializers = {}
        if self.start == "distance":
            initializers = {
                "kernel_initializer": distance_kernel,
                "bias_initializer": distance_bias,
            }
        self.projection = keras.layers.Dense(
            self.units, dtype=self.dtype_policy, name="projection", **initializers
        )
        self.projection.build((*image_shape[:-1], text_shape[-1]))

    def call(self, text: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        kernel = ops.cast(self.projection.kernel, self.compute_dtype)
        projected = _product_of_squares(text, image, kernel)
        projected = tf.nn.bias_add(projected, ops.cast(self.projection.bias, projected.dtype))
        return l2_normalize(ops.cast(projected, wide_dtype(projected)))

    def compute_output_spec(
        self, text: keras.KerasTensor, image: keras.KerasTensor
    ) -> keras.KerasTensor:
        rows = tf.broadcast_static_shape(*(tf.TensorShape(x.shape[:-1]) for x in (text, image)))
        return keras.KerasTensor((*rows, self.units), wide_dtype(self.projection.kernel))

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units, "start": self.start}
