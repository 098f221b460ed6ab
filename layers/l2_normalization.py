"""Unit length as a layer."""

import keras
import tensorflow as tf

from hslm_tf.layers.numerics import l2_normalize, mask_rows


@keras.saving.register_keras_serializable(package="hslm_tf")
class L2Normalization(keras.layers.Layer):
    """Scales every row to unit length, in float32 at least; the gradient at zero is finite.

    Call arguments:
        vectors: `[..., rows, width]`.
        mask: boolean `[..., rows]`, True for real rows, or None.

    Returns:
        `[..., rows, width]`; rows of padding are zero.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, vectors: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        # Masked first: the unit vectors are then the only copy that the gradient keeps.
        return l2_normalize(mask_rows(vectors, mask))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        # Without this method Keras refuses to save a layer whose dtype is a policy object.
        return super().get_config()
