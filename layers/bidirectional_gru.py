"""The bidirectional recurrent layer over the words of a caption (HSLM Eq. 12-14)."""

import keras
import tensorflow as tf

from hslm_tf.layers.numerics import affine, wide_dtype
from hslm_tf.layers.packed_gru import packed_gru, packed_gru_states, packing

IMPLEMENTATIONS = ("auto", "packed", "keras")


@keras.saving.register_keras_serializable(package="hslm_tf")
class BidirectionalGRU(keras.layers.Layer):
    """Mean of a forward and a backward GRU (HSLM Eq. 12-14).

    Holds the weights of `keras.layers.Bidirectional(GRU(units), merge_mode="ave")` and computes
    the same, but faster on a CPU: Keras also computes the padding words, and adds to the gradient
    of the recurrent kernel in every step. Here padding is left out and the gradient is one
    product, see `packed_gru`.

    Args:
        units: width of each direction, and of the mean.
        implementation: `"packed"`; `"keras"`, which takes cuDNN's kernel where there is one; or
            `"auto"`, which is `"keras"` where a GPU is visible and `"packed"` elsewhere.

    Call arguments:
        words: `[batch, words, width]`, word vectors.
        mask: boolean `[batch, words]`, True for real words, padding on the right; None where all
            are real.
        training: with `"packed"`, keeps what the gradient needs, which is then faster; states are
            faster without.

    Returns:
        `[batch, words, units]`; with `"packed"` rows of padding words are zero.

    Raises:
        ValueError: if `implementation` is unknown.
    """

    def __init__(self, units: int, implementation: str = "auto", **kwargs) -> None:
        super().__init__(**kwargs)
        if implementation not in IMPLEMENTATIONS:
            raise ValueError(
                f"`implementation` must be one of {', '.join(IMPLEMENTATIONS)}. "
                f"Received: implementation={implementation}"
            )
        self.units = units
        self.implementation = implementation
        self.supports_masking = True
        self.bidirectional = keras.layers.Bidirectional(
            keras.layers.GRU(units, return_sequences=True, dtype=self.dtype_policy, name="gru"),
            merge_mode="ave",
            dtype=self.dtype_policy,
            name="bidirectional",
        )

    def build(self, input_shape: tuple) -> None:
        self.bidirectional.build(input_shape)

    def call(
        self, words: tf.Tensor, mask: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        implementation = self.implementation
        if implementation == "auto":
            implementation = "keras" if tf.config.list_physical_devices("GPU") else "packed"
        if implementation == "keras":
            return self.bidirectional(words, mask=mask)
        if mask is None:
            mask = tf.ones(tf.shape(words)[:2], tf.bool)
        return self._packed(words, mask, training)

    def _packed(self, words: tf.Tensor, mask: tf.Tensor, training: bool) -> tf.Tensor:
        pack = packing(mask)
        cells = (self.bidirectional.forward_layer.cell, self.bidirectional.backward_layer.cell)
        inputs = tf.gather(tf.reshape(words, [-1, words.shape[-1]]), pack.words)
        inputs = (inputs, tf.gather(inputs, pack.reversed))
        # The input and recurrent biases of both gates are added up here. The recurrent bias of the
        # candidate state stays apart, because the reset gate scales it.
        biases = [tf.split(tf.convert_to_tensor(cell.bias), 3, axis=1) for cell in cells]
        joined = [tf.concat([z[0] + z[1], r[0] + r[1], c[0]], axis=0) for z, r, c in biases]
        inputs = [
            affine(x[None], tf.convert_to_tensor(cell.kernel), bias)[0]
            for x, cell, bias in zip(inputs, cells, joined, strict=True)
        ]
        kernels = [tf.convert_to_tensor(cell.recurrent_kernel) for cell in cells]
        biases = tf.cast(tf.stack([c[1] for _, _, c in biases]), wide_dtype(words))
        # With few captions a step takes as long as reading its kernel, with one core: so the two
        # directions do not wait for each other.
        recurrence, places = packed_gru_states, (pack.counts,)
        if training:
            recurrence, places = packed_gru, (pack.counts, pack.starts)
        forward, backward = (
            recurrence(x, kernel, bias, *places)
            for x, kernel, bias in zip(inputs, kernels, tf.unstack(biases), strict=True)
        )
        mean = (forward + tf.gather(backward, pack.reversed)) / 2
        shape = tf.shape(mask)
        padded = tf.scatter_nd(
            pack.words[:, None], tf.cast(mean, words.dtype), [shape[0] * shape[1], self.units]
        )
        return tf.reshape(padded, [shape[0], shape[1], self.units])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units, "implementation": self.implementation}
