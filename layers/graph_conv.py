"""One graph convolution over image regions or words (HSLM Eq. 7-8)."""

import keras
from keras import ops

from hslm_tf.layers.numerics import mask_rows, masked_softmax, real_count

AFFINITIES = ("mean", "dot", "softmax")


@keras.saving.register_keras_serializable(package="hslm_tf")
class GraphConv(keras.layers.Layer):
    """Learns relations between the nodes of a fully connected graph (HSLM Eq. 7-8).

    `A = mu(R) nu(R)^T` and `R_g = (A (R W_g)) W_r + R`, all four maps square with bias, as in
    VSRN. `W_r` starts at zero, so that the layer starts as the identity (VSRN's BatchNorm with
    gamma = 0 does the same).

    Args:
        affinity: what becomes of A. `"mean"` divides by the number of real nodes (as VSRN does),
            `"dot"` leaves it as the paper prints it, `"softmax"` normalizes each row of
            `A / sqrt(width)`.
        **kwargs: name, dtype and the other arguments of `keras.layers.Layer`.

    Call arguments:
        nodes: `[batch, nodes, width]`, region or word features.
        mask: boolean `[batch, nodes]`, True for real nodes; None where all are real.

    Returns:
        `[batch, nodes, width]`; rows of padding nodes are zero.

    Raises:
        ValueError: if `affinity` is unknown.
    """

    def __init__(self, affinity: str = "mean", **kwargs) -> None:
        super().__init__(**kwargs)
        if affinity not in AFFINITIES:
            raise ValueError(
                f"`affinity` must be one of {', '.join(AFFINITIES)}. Received: affinity={affinity}"
            )
        self.affinity = affinity
        self.supports_masking = True

    def build(self, input_shape: tuple) -> None:
        width = input_shape[-1]
        self.mu = self._map(width, "mu")
        self.nu = self._map(width, "nu")
        self.message = self._map(width, "message")
        self.update = self._map(width, "update", kernel_initializer="zeros")
        for linear_map in (self.mu, self.nu, self.message, self.update):
            linear_map.build(input_shape)

    def _map(self, width: int, name: str, **kwargs) -> keras.layers.Dense:
        return keras.layers.Dense(width, dtype=self.dtype_policy, name=name, **kwargs)

    def call(
        self, nodes: keras.KerasTensor, mask: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        nodes = mask_rows(nodes, mask)
        # A (R W_g) W_r = A (R W_g W_r); masking the rows of the factor is masking A's columns.
        message = mask_rows(_chain(nodes, self.message, self.update.kernel), mask)
        updated = ops.matmul(self._relations(nodes, mask), message) + self.update.bias + nodes
        return mask_rows(updated, mask)

    def _relations(
        self, nodes: keras.KerasTensor, mask: keras.KerasTensor | None
    ) -> keras.KerasTensor:
        """The relation matrix A of Eq. 7, `[batch, nodes, nodes]`.

        `A = mu(R) (R W_nu + b_nu)^T = (mu(R) W_nu^T) R^T + mu(R) . b_nu`.
        """
        products = _chain(nodes, self.mu, ops.transpose(self.nu.kernel))
        offsets = ops.tensordot(nodes, ops.matmul(self.mu.kernel, self.nu.bias[:, None]), 1)
        offsets = offsets + ops.sum(self.mu.bias * self.nu.bias)
        if self.affinity == "mean":
            scale = 1 / real_count(mask, nodes, nodes.dtype)
        else:
            scale = nodes.shape[-1] ** -0.5 if self.affinity == "softmax" else 1.0
        # Scaled before the product, which keeps float16 in range.
        relations = ops.matmul(products * scale, ops.swapaxes(nodes, -1, -2)) + offsets * scale
        if self.affinity != "softmax":
            return relations
        columns = None if mask is None else mask[..., None, :]
        return ops.cast(masked_softmax(relations, columns), nodes.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "affinity": self.affinity}


def _chain(
    x: keras.KerasTensor, first: keras.layers.Dense, second: keras.KerasTensor
) -> keras.KerasTensor:
    """Applies two linear maps one after the other, `(x W_1 + b_1) W_2`.

    No nonlinearity stands between them, so where the rows of `x` outnumber the width, the product
    of the kernels is formed first, which halves the work; the factors stay the weights.
    """
    rows = ops.size(x) // x.shape[-1]

    def folded() -> keras.KerasTensor:
        return ops.tensordot(x, ops.matmul(first.kernel, second), 1)

    def plain() -> keras.KerasTensor:
        return ops.tensordot(ops.tensordot(x, first.kernel, 1), second, 1)

    mapped = ops.cond(rows > x.shape[-1], folded, plain)
    return mapped + ops.matmul(first.bias[None], second)
