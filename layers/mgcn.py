"""The multi-layer graph convolutional network (HSLM Eq. 9-11)."""

import keras
import tensorflow as tf

from hslm_tf.layers.graph_conv import GraphConv
from hslm_tf.layers.numerics import l2_normalize, mask_rows


@keras.saving.register_keras_serializable(package="hslm_tf")
class MGCN(keras.layers.Layer):
    """Learns objects, relations and relations of relations (HSLM Eq. 9-11).

    `num_layers` graph convolutions one after another, each with its weights and relation
    matrix. A graph convolution is cubic in its input, so the features drift unless their scale
    is held between the layers.

    Args:
        num_layers: number of graph convolutions (L); the paper's best is 4.
        affinity: see `GraphConv`.
        normalize: scales each row to unit length after every graph convolution; the paper does not.

    Call arguments:
        nodes: `[batch, nodes, width]`, region or word features.
        mask: boolean `[batch, nodes]`, True for real nodes; None where all are real.

    Returns:
        `[batch, nodes, width]`; rows of padding nodes are zero.

    Raises:
        ValueError: if `num_layers` is below 1.
    """

    def __init__(
        self, num_layers: int = 4, affinity: str = "mean", normalize: bool = True, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if num_layers < 1:
            raise ValueError(f"`num_layers` must be at least 1. Received: num_layers={num_layers}")
        self.num_layers = num_layers
        self.affinity = affinity
        self.normalize = normalize
        self.supports_masking = True
        self.convolutions = [
            GraphConv(affinity, dtype=self.dtype_policy, name=f"graph_conv_{i + 1}")
            for i in range(num_layers)
        ]

    def build(self, input_shape: tuple) -> None:
        for layer in self.convolutions:
            layer.build(input_shape)

    def call(self, nodes: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        for i in range(self.num_layers):
            nodes = self._step(i, nodes, mask)
        return nodes

    def relations(self, nodes: tf.Tensor, mask: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The relation matrix of every layer, see `GraphConv.relations`."""
        matrices = []
        for i in range(self.num_layers):
            matrices.append(self.convolutions[i].relations(nodes, mask))
            nodes = self._step(i, nodes, mask)
        return matrices

    def _step(self, i: int, nodes: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        nodes = self.convolutions[i].convolve(nodes, mask)
        if i + 1 == self.num_layers:
            # Padding nodes do not change the real ones, so masking once, at the end, is enough.
            nodes = mask_rows(nodes, mask)
        return l2_normalize(nodes) if self.normalize else nodes

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "affinity": self.affinity,
            "normalize": self.normalize,
        }
