"""The multi-layer graph convolutional network (HSLM Eq. 9-11)."""

import keras
import tensorflow as tf

from hslm_tf.layers.graph_conv import GraphConv
from hslm_tf.layers.numerics import l2_normalize, mask_rows

NORMALIZATIONS = ("l2", "layer", None)


@keras.saving.register_keras_serializable(package="hslm_tf")
class MGCN(keras.layers.Layer):
    """Learns objects, relations and relations of relations (HSLM Eq. 9-11).

    `num_layers` graph convolutions one after another, each with its weights and relation
    matrix. A graph convolution is cubic in its input, so the features drift unless their scale
    is held between the layers.

    Args:
        num_layers: number of graph convolutions (L); the paper's best is 4.
        affinity: see `GraphConv`.
        normalization: what follows every graph convolution: `"l2"` scales each row to unit
            length, `"layer"` is layer normalization, None leaves it out, as the paper does.

    Call arguments:
        nodes: `[batch, nodes, width]`, region or word features.
        mask: boolean `[batch, nodes]`, True for real nodes; None where all are real.

    Returns:
        `[batch, nodes, width]`; rows of padding nodes are zero.

    Raises:
        ValueError: if `num_layers` is below 1 or `normalization` is unknown.
    """

    def __init__(
        self,
        num_layers: int = 4,
        affinity: str = "mean",
        normalization: str | None = "l2",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if num_layers < 1:
            raise ValueError(f"`num_layers` must be at least 1. Received: num_layers={num_layers}")
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                "`normalization` must be 'l2', 'layer' or None. "
                f"Received: normalization={normalization}"
            )
        self.num_layers = num_layers
        self.affinity = affinity
        self.normalization = normalization
        self.supports_masking = True
        self.convolutions = [
            GraphConv(affinity, dtype=self.dtype_policy, name=f"graph_conv_{i + 1}")
            for i in range(num_layers)
        ]
        self.norms = [
            # Layer normalization computes its statistics in float32 under every policy.
            keras.layers.LayerNormalization(dtype=self.dtype_policy, name=f"norm_{i + 1}")
            for i in range(num_layers if normalization == "layer" else 0)
        ]

    def build(self, input_shape: tuple) -> None:
        for layer in [*self.convolutions, *self.norms]:
            layer.build(input_shape)

    def call(self, nodes: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        # Padding nodes do not change the real ones, so masking once, at the end, is enough.
        for i in range(self.num_layers):
            nodes = self._step(i, nodes, mask)
        return mask_rows(nodes, mask) if self.normalization == "layer" else nodes

    def relations(self, nodes: tf.Tensor, mask: tf.Tensor | None = None) -> list[tf.Tensor]:
        """The relation matrix of every layer, see `GraphConv.relations`."""
        matrices = []
        for i in range(self.num_layers):
            matrices.append(self.convolutions[i].relations(nodes, mask))
            nodes = self._step(i, nodes, mask)
        return matrices

    def _step(self, i: int, nodes: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        nodes = self.convolutions[i].convolve(nodes, mask)
        if i + 1 == self.num_layers and self.normalization != "layer":
            nodes = mask_rows(nodes, mask)
        if self.normalization == "l2":
            nodes = l2_normalize(nodes)
        elif self.normalization == "layer":
            nodes = self.norms[i](nodes)
        return nodes

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "affinity": self.affinity,
            "normalization": self.normalization,
        }
