"""Weights as they are stored in an export: float32, half precision, or eight bits."""

from collections.abc import Sequence
from typing import Literal, get_args

import keras
import numpy as np
import tensorflow as tf

Precision = Literal["float32", "float16", "bfloat16", "int8"]


class CastWeight(tf.Module):
    """A weight stored in another floating-point type."""

    def __init__(self, value: np.ndarray, dtype: str) -> None:
        super().__init__()
        self.stored = tf.Variable(tf.cast(value, dtype), trainable=False)

    def __call__(self) -> tf.Tensor:
        """Returns the weight as float32."""
        return tf.cast(self.stored, tf.float32)


class Int8Weight(tf.Module):
    """A matrix stored in eight bits, symmetrically, with one scale for every output channel."""

    def __init__(self, value: np.ndarray) -> None:
        super().__init__()
        largest = np.abs(value).max(axis=tuple(range(value.ndim - 1)), keepdims=True)
        scale = np.where(largest > 0, largest, 1.0) / 127
        self.stored = tf.Variable(np.rint(value / scale).astype(np.int8), trainable=False)
        self.scale = tf.Variable(scale.astype(np.float32), trainable=False)

    def __call__(self) -> tf.Tensor:
        """Returns the weight as float32."""
        return tf.cast(self.stored, tf.float32) * self.scale


class StoredWeights:
    """Copies of a model's weights in the precision in which they are stored."""

    def __init__(self, weights: Sequence[keras.Variable], precision: Precision) -> None:
        if precision not in get_args(Precision):
            raise ValueError(
                f"`precision` must be one of {', '.join(get_args(Precision))}. "
                f"Received: precision={precision!r}"
            )
        self._weights = list(weights)
        self.modules = [_stored(np.asarray(weight), precision) for weight in self._weights]

    def scope(self) -> keras.StatelessScope:
        """Returns a context in which Keras layers compute with the stored weights."""
        values = [module() for module in self.modules]
        return keras.StatelessScope(
            state_mapping=list(zip(self._weights, values, strict=True)), collect_losses=False
        )


def _stored(value: np.ndarray, precision: Precision) -> tf.Module:
    if value.ndim < 2:
        return CastWeight(value, "float32")
    return Int8Weight(value) if precision == "int8" else CastWeight(value, precision)
