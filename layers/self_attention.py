"""Self-attention over the words of a caption (HSLM Eq. 3-6)."""

import keras
import tensorflow as tf
from keras import ops

from hslm_tf.layers.numerics import mask_rows, num_valid


@keras.saving.register_keras_serializable(package="hslm_tf")
class SelfAttention(keras.layers.Layer):
    """Mixes every word vector with the others of its caption (HSLM Eq. 3-6).

    `E_f = (E_K E_Q^T / M) E_V` with `E_K = W_K E`, `E_Q = W_Q E`, `E_V = W_V E` and M the number
    of real words: one head, no softmax. Padding words do not take part.

    Args:
        residual: adds the input, `E_f + E`. The paper has no residual path.

    Call arguments:
        words: `[batch, words, width]`, word vectors.
        mask: boolean `[batch, words]`, True for real words; None where all are real.

    Returns:
        `[batch, words, width]`; rows of padding words are zero.
    """

    def __init__(self, residual: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.residual = residual
        self.supports_masking = True

    def build(self, input_shape: tuple) -> None:
        width = input_shape[-1]
        self.key = self._projection(width, "key")
        self.query = self._projection(width, "query")
        self.value = self._projection(width, "value")
        for projection in (self.key, self.query, self.value):
            projection.build(input_shape)

    def _projection(self, width: int, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name=name)

    def call(self, words: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        words = mask_rows(words, mask)
        # Scaled before the product, which keeps float16 in range on long captions.
        key = self.key(words) / num_valid(mask, words, words.dtype)
        correlation = ops.matmul(key, ops.swapaxes(self.query(words), -1, -2))
        enhanced = ops.matmul(correlation, self.value(words))
        return enhanced + words if self.residual else enhanced

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "residual": self.residual}
