"""Similarity representation of two vectors from different modalities (HSLM Eq. 17-19)."""

import keras
import tensorflow as tf
from keras import ops

from hslm_tf.layers.distance_start import STARTS, DistanceBias, DistanceKernel
from hslm_tf.layers.numerics import l2_normalize, wide_dtype


@keras.saving.register_keras_serializable(package="hslm_tf")
class SimilarityRepresentation(keras.layers.Layer):
    """A unit vector that says how two vectors differ (HSLM Eq. 17, SGRAF Sec. 3.2).

    `S(m1, m2) = l2norm(W (m1 - m2)^2 + b)`; the same formula on word vectors against attended
    image vectors (Eq. 18) and on the global vectors (Eq. 19), each with weights of its own.

    Args:
        units: width of the similarity vector; the paper gives none, SGRAF uses 256.
        start: initial W and b. `"distance"`: the vector shows how far apart the two vectors are,
            see `distance_start`; `"random"`: those of a Dense layer.
        **kwargs: name, dtype and the other arguments of `keras.layers.Layer`.

    Call arguments:
        text: `[..., width]`.
        image: `[..., width]`, broadcast against `text`.

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
                "kernel_initializer": DistanceKernel(),
                "bias_initializer": DistanceBias(),
            }
        self.projection = keras.layers.Dense(
            self.units, dtype=self.dtype_policy, name="projection", **initializers
        )
        self.projection.build((*image_shape[:-1], text_shape[-1]))

    def call(self, text: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        projected = self.projection(tf.math.squared_difference(text, image))
        return l2_normalize(ops.cast(projected, wide_dtype(projected)))

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units, "start": self.start}
