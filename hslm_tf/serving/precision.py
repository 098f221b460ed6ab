"""Weights as they are stored in an export: float32, half precision, or eight bits."""

from collections.abc import Sequence
from typing import Literal, get_args

import keras
import numpy as np
import tensorflow as tf

Precision = Literal["float32", "float16", "bfloat16", "int8"]


class StoredWeight(tf.Module):
    """A weight in the type that it is stored in; a call returns it in float32."""

    def __init__(self, value: np.ndarray, precision: Precision) -> None:
        super().__init__()
        self.scale = None
        if value.ndim < 2:
            # Biases, gates and scales take little space.
            precision = "float32"
        elif precision == "int8":
            # One scale for every output channel, symmetric around zero.
            largest = np.abs(value).max(axis=tuple(range(value.ndim - 1)), keepdims=True)
            scale = np.where(largest > 0, largest, 1.0) / 127
            value = np.rint(value / scale)
            self.scale = tf.Variable(scale.astype(np.float32), trainable=False)
        self.stored = tf.Variable(tf.cast(value, precision), trainable=False)

    def __call__(self) -> tf.Tensor:
        value = tf.cast(self.stored, tf.float32)
        return value if self.scale is None else value * self.scale


class StoredWeights:
    """Copies of a model's weights in the precision in which they are stored."""

    def __init__(self, weights: Sequence[keras.Variable], precision: Precision) -> None:
        if precision not in get_args(Precision):
            raise ValueError(
                f"`precision` must be one of {', '.join(get_args(Precision))}. "
                f"Received: precision={precision!r}"
            )
        self._weights = list(weights)
        self.modules = [StoredWeight(np.asarray(weight), precision) for weight in self._weights]

    def scope(self) -> keras.StatelessScope:
        """Returns a context in which Keras layers compute with the stored weights."""
        values = [module() for module in self.modules]
        return keras.StatelessScope(
            state_mapping=list(zip(self._weights, values, strict=True)), collect_losses=False
        )
