"""Fusion of local and global similarity vectors into a score (HSLM Eq. 20-22)."""

import keras
import tensorflow as tf

from hslm_tf.layers.numerics import l2_normalize
from hslm_tf.layers.packed_words import sum_by_caption


@keras.saving.register_keras_serializable(package="hslm_tf")
class SimilarityFusion(keras.layers.Layer):
    """Weighs similarity vectors with gates, adds them up and scores the sum (HSLM Eq. 20-22).

    `w_k = sigmoid(W_S S_k + b)`, one gate per similarity vector, `S_A = sum_k w_k S_k` over the
    words of the caption and the global vector, and the score is a linear map of `S_A` with bias.
    Small beside everything before it, the fusion is always computed in float32 at least.

    Args:
        normalize: divides by the sum of the gates and scales `S_A` to unit length (as SGRAF), so
            that the score does not grow with the length of the caption. Without it, Eq. 21 to the
            letter.
        **kwargs: name, dtype and the other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of the similarity vectors there are: `"local"`, float
            `[blocks, images, words, width]`, with `"caption_index"`, int32 `[blocks, words]`
            (-1 for padding); and (or) `"global"`, float `[blocks, images, captions, width]`.

    Returns:
        Scores `[blocks, images, captions]`, float32 (float64 in a float64 layer).

    Raises:
        ValueError: if there are neither local nor global vectors, or local ones without an index.
    """

    def __init__(self, normalize: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.normalize = normalize
        wide = "float64" if self.compute_dtype == "float64" else "float32"
        self.gate = keras.layers.Dense(1, activation="sigmoid", dtype=wide, name="gate")
        self.score = keras.layers.Dense(1, dtype=wide, name="score")
        # The layer's own autocast would round float32 similarity vectors to float16.
        self.autocast = False

    def build(self, input_shape: dict) -> None:
        keys = set(input_shape)
        if not keys & {"local", "global"} or ("local" in keys) != ("caption_index" in keys):
            raise ValueError(
                "`inputs` must have 'local' with 'caption_index', or 'global', or all three. "
                f"Received: inputs={sorted(keys)}"
            )
        width = input_shape["local" if "local" in keys else "global"][-1]
        self.gate.build((None, width))
        self.score.build((None, width))

    def call(self, inputs: dict) -> tf.Tensor:
        weighted_sum, gate_sum = 0.0, 0.0
        if "local" in inputs:
            local = tf.cast(inputs["local"], self.gate.compute_dtype)
            gates = self.gate(local)
            sums = sum_by_caption(
                tf.concat([gates * local, gates], axis=-1), inputs["caption_index"]
            )
            weighted_sum, gate_sum = sums[..., :-1], sums[..., -1:]
        if "global" in inputs:
            whole = tf.cast(inputs["global"], self.gate.compute_dtype)
            gates = self.gate(whole)
            weighted_sum, gate_sum = weighted_sum + gates * whole, gate_sum + gates
        if self.normalize:
            weighted_sum = l2_normalize(tf.math.divide_no_nan(weighted_sum, gate_sum))
        return tf.squeeze(self.score(weighted_sum), axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "normalize": self.normalize}
