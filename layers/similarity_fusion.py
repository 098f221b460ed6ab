"""Fusion of local and global similarity vectors into a score (HSLM Eq. 20-22)."""

import keras
import tensorflow as tf

from hslm_tf.layers.numerics import l2_normalize
from hslm_tf.layers.packed_words import sum_by_caption
from hslm_tf.layers.similarity import STARTS, falling_score


@keras.saving.register_keras_serializable(package="hslm_tf")
class SimilarityFusion(keras.layers.Layer):
    """Weighs similarity vectors with gates, adds them up and scores the sum (HSLM Eq. 20-22).

    `w_k = sigmoid(W_S S_k + b)`, one gate per similarity vector, `S_A = sum_k w_k S_k` over the
    words of the caption and the global vector, and the score is a linear map of `S_A` with bias.
    The fusion takes little time, so it is always computed in float32 at least.

    Args:
        normalize: scales `S_A` to unit length (as SGRAF), so that the score does not grow with the
            length of the caption; dividing by the sum of the gates first, as SGRAF does, would
            change nothing. Without it, Eq. 21 as printed. The gate of a single vector would cancel,
            so with global vectors alone there is none.
        balance: weighs the global vector as much as all words of the caption together. Without it,
            as in the paper, the global vector is one of about 15 vectors.
        start: initial weights of the score. `"distance"`: the score falls with the distance, see
            `hslm_tf.layers.similarity`; `"random"`: those of a Dense layer.

    Call arguments:
        inputs: dict of the similarity vectors there are: `"local"`, float
            `[blocks, images, words, width]`, with `"segment_ids"`, int32 `[blocks, words]`
            (-1 for padding); and (or) `"global"`, float `[blocks, images, captions, width]`.

    Returns:
        Scores `[blocks, images, captions]`, float32 (float64 in a float64 layer).

    Raises:
        ValueError: if there are neither local nor global vectors, or local ones without
            `segment_ids`, or `start` is unknown.
    """

    def __init__(
        self, normalize: bool = True, balance: bool = False, start: str = "distance", **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if start not in STARTS:
            raise ValueError(f"`start` must be one of {', '.join(STARTS)}. Received: start={start}")
        self.normalize = normalize
        self.balance = balance
        self.start = start
        wide = "float64" if self.compute_dtype == "float64" else "float32"
        self.gate = keras.layers.Dense(1, activation="sigmoid", dtype=wide, name="gate")
        initializer = falling_score if start == "distance" else "glorot_uniform"
        self.score = keras.layers.Dense(1, kernel_initializer=initializer, dtype=wide, name="score")
        # The autocast of this layer would round float32 similarity vectors to float16.
        self.autocast = False

    def build(self, input_shape: dict) -> None:
        keys = set(input_shape)
        if not keys & {"local", "global"} or ("local" in keys) != ("segment_ids" in keys):
            raise ValueError(
                "`inputs` must have 'local' with 'segment_ids', or 'global', or all three. "
                f"Received: inputs={sorted(keys)}"
            )
        width = input_shape["local" if "local" in keys else "global"][-1]
        self.has_gates = "local" in keys or not self.normalize
        if self.has_gates:
            self.gate.build((None, width))
        self.score.build((None, width))

    def call(self, inputs: dict) -> tf.Tensor:
        enhanced = 0.0
        if "local" in inputs:
            gated = self._gated(inputs["local"])
            enhanced += sum_by_caption(gated, inputs["segment_ids"])
        if "global" in inputs:
            share = self._gated(inputs["global"])
            if self.balance and "local" in inputs:
                share *= _word_counts(inputs["local"], inputs["segment_ids"], share.dtype)
            enhanced += share
        if self.normalize:
            enhanced = l2_normalize(enhanced)
        return _number(self.score, enhanced)

    def _gated(self, vectors: tf.Tensor) -> tf.Tensor:
        """Eq. 21, `w_k S_k`."""
        vectors = tf.cast(vectors, self.score.compute_dtype)
        if not self.has_gates:
            return vectors
        return _number(self.gate, vectors)[..., None] * vectors

    def compute_output_spec(self, inputs: dict) -> keras.KerasTensor:
        if "global" in inputs:
            return keras.KerasTensor(inputs["global"].shape[:-1], self.score.compute_dtype)
        return keras.KerasTensor((*inputs["local"].shape[:2], None), self.score.compute_dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "normalize": self.normalize,
            "balance": self.balance,
            "start": self.start,
        }


def _number(dense: keras.layers.Dense, vectors: tf.Tensor) -> tf.Tensor:
    """Applies a layer of one unit to every vector, `[..., width]` to `[...]`."""
    # Keras makes a far larger graph of a product with more than two dimensions.
    rows = dense(tf.reshape(vectors, [-1, vectors.shape[-1]]))
    return tf.reshape(rows, tf.shape(vectors)[:-1])


def _word_counts(local: tf.Tensor, segment_ids: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Words of each caption, `[blocks, 1, captions, 1]`."""
    return sum_by_caption(tf.ones_like(local[:, :1, :, :1], dtype), segment_ids)
