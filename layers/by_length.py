"""Layers that run on captions of like length together, because padding costs as much as words."""

from collections.abc import Sequence

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="hslm_tf")
class ByLength(keras.layers.Layer):
    """Runs layers on captions of like length together while they learn; the result is the same.

    Args:
        layers: layers that are called as `layer(states, padding_mask=mask)` and keep the shape of
            `states`, such as those of a transformer.
        groups: number of groups that a batch is split into.

    Call arguments:
        states: `[batch, tokens, width]`.
        mask: boolean `[batch, tokens]`, False for padding on the right.
        training: whether there are groups.

    Returns:
        `[batch, tokens, width]`; padding has any values.
    """

    def __init__(self, layers: Sequence[keras.layers.Layer], groups: int = 4, **kwargs) -> None:
        super().__init__(**kwargs)
        self.run_layers = list(layers)
        self.groups = groups

    def build(self, states_shape: tuple, mask_shape: tuple | None = None) -> None:
        for layer in self.run_layers:
            if not layer.built:
                layer.build(states_shape)

    def call(self, states: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return self._run(states, mask, training)
        count, width = tf.shape(states)[0], tf.shape(states)[1]
        lengths = tf.math.count_nonzero(mask, axis=1, dtype=tf.int32)
        order = tf.argsort(lengths, stable=True)
        size = -(-count // self.groups)
        groups = []
        for group in range(self.groups):
            rows = order[group * size : (group + 1) * size]
            # The last groups of a small batch are empty.
            longest = tf.maximum(tf.reduce_max(tf.gather(lengths, rows)), 1)
            some, real = (tf.gather(x, rows)[:, :longest] for x in (states, mask))
            run = self._run(some, real, training)
            groups.append(tf.pad(run, [[0, 0], [0, width - longest], [0, 0]]))
        together = tf.gather(tf.concat(groups, axis=0), tf.math.invert_permutation(order))
        return tf.ensure_shape(together, states.shape)

    def _run(self, states: tf.Tensor, mask: tf.Tensor, training: bool) -> tf.Tensor:
        for layer in self.run_layers:
            states = layer(states, padding_mask=mask, training=training)
        return states

    def compute_output_spec(
        self, states: keras.KerasTensor, mask: keras.KerasTensor, training: bool = False
    ) -> keras.KerasTensor:
        return keras.KerasTensor(states.shape, self.compute_dtype)

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.run_layers]
        return {**super().get_config(), "layers": layers, "groups": self.groups}

    @classmethod
    def from_config(cls, config: dict) -> "ByLength":
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})
