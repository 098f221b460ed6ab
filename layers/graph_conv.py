"""One graph convolution over image regions or words (HSLM Eq. 7-8)."""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from hslm_tf.layers.custom_gradient import custom_gradient
from hslm_tf.layers.numerics import affine, mask_rows, num_valid

AFFINITIES = ("mean", "dot")


@keras.saving.register_keras_serializable(package="hslm_tf")
class GraphConv(keras.layers.Layer):
    """Learns relations between the nodes of a fully connected graph (HSLM Eq. 7-8).

    `A = mu(R) nu(R)^T` and `R_g = (A (R W_g)) W_r + R`, all four maps square with bias, as in
    VSRN. `W_r` starts at zero, so that the layer starts as the identity (VSRN's BatchNorm with
    gamma = 0 does the same).

    Args:
        affinity: what becomes of A. `"mean"` divides by the number of real nodes (as VSRN does),
            `"dot"` leaves it as the paper prints it.

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

    def call(self, nodes: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        return mask_rows(self.convolve(nodes, mask), mask)

    def convolve(self, nodes: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        """As `call`, but rows of padding nodes may hold anything."""
        relations = self.relations(nodes, mask)
        # A (R W_g + b_g) W_r = A (R W_g W_r + b_g W_r).
        weights = self.message.kernel, self.update.kernel, self.message.bias
        received = _chain(nodes, *weights, relations=relations)
        return tf.nn.bias_add(received, self.update.bias) + nodes

    def relations(self, nodes: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        """The relation matrix A of Eq. 7: row i is how much node i takes from each node."""
        scale = 1.0 if self.affinity == "dot" else 1 / num_valid(mask, nodes, nodes.dtype)
        relations = self._products(nodes, scale)
        if mask is None:
            return relations
        return ops.where(mask[..., None, :], relations, ops.zeros((), dtype=relations.dtype))

    def _products(self, nodes: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
        """A before it is masked, `(R W_mu W_nu^T + b_mu W_nu^T) R^T + mu(R) . b_nu`."""
        nu_kernel = ops.transpose(self.nu.kernel)
        products = _chain(nodes, self.mu.kernel, nu_kernel, self.mu.bias)
        offsets = ops.tensordot(nodes, ops.matmul(self.mu.kernel, self.nu.bias[:, None]), 1)
        offsets = offsets + ops.sum(self.mu.bias * self.nu.bias)
        if self.compute_dtype == "float16":
            # Scaled before the product, which keeps it in range.
            products, offsets, scale = products * scale, offsets * scale, 1.0
        relations = ops.matmul(products, ops.swapaxes(nodes, -1, -2)) + offsets
        return relations * scale

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "affinity": self.affinity}


def _chain(
    x: tf.Tensor,
    first: tf.Tensor,
    second: tf.Tensor,
    first_bias: tf.Tensor,
    relations: tf.Tensor | None = None,
) -> tf.Tensor:
    """Applies two linear maps one after the other, `(x W_1 + b_1) W_2`, and `relations` to that."""
    # Where rows outnumber the width, the product of the kernels first halves the work.
    width = x.shape[-1]
    first, second = ops.convert_to_tensor(first), ops.convert_to_tensor(second)
    bias = ops.matmul(ops.convert_to_tensor(first_bias)[None], second)[0]

    def folded() -> tf.Tensor:
        kernel = tf.matmul(first, second)
        if relations is None:
            return affine(x, kernel, bias)
        return _received(relations, x, kernel, bias)

    def plain() -> tf.Tensor:
        mapped = affine(tf.tensordot(x, first, 1), second, bias)
        return mapped if relations is None else ops.matmul(relations, mapped)

    rows = ops.size(x) // width
    return ops.reshape(ops.cond(rows > width, folded, plain), ops.shape(x))


@custom_gradient
def _received(
    relations: tf.Tensor, nodes: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """`relations (nodes kernel + bias)`, whose gradient does without the messages in brackets."""
    # They are as large as the nodes, and TensorFlow would keep them for the gradient.

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        width = nodes.shape[-1]
        rows = tf.reshape(upstream, [-1, width])
        carried = tf.reshape(tf.matmul(rows, kernel, transpose_b=True), tf.shape(nodes))
        offsets = tf.reshape(tf.linalg.matvec(rows, bias), tf.shape(nodes)[:-1])
        d_relations = tf.matmul(carried, nodes, transpose_b=True) + offsets[..., None]
        d_messages = tf.matmul(relations, upstream, transpose_a=True)
        d_messages = tf.reshape(d_messages, [-1, width])
        return (
            d_relations,
            tf.matmul(relations, carried, transpose_a=True),
            tf.matmul(tf.reshape(nodes, [-1, width]), d_messages, transpose_a=True),
            tf.reduce_sum(d_messages, axis=0),
        )

    return tf.matmul(relations, affine(nodes, kernel, bias)), gradient
