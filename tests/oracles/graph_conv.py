"""HSLM Eq. 7-11."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tests.oracles.numerics import Affine


class GraphConvWeights(NamedTuple):
    mu: Affine
    nu: Affine
    message: Affine
    update: Affine


def affinity_matrix(nodes: np.ndarray, weights: GraphConvWeights, affinity: str) -> np.ndarray:
    """Eq. 7: `A_ij = mu(r_i) . nu(r_j)` in one of its scalings, `[N, N]`."""
    num_nodes = len(nodes)
    matrix = np.zeros((num_nodes, num_nodes))
    for i in range(num_nodes):
        for j in range(num_nodes):
            matrix[i, j] = weights.mu(nodes[i]) @ weights.nu(nodes[j])
    if affinity == "dot":
        return matrix
    if affinity == "mean":
        return matrix / num_nodes
    raise ValueError(f"affinity must be dot or mean. Received: affinity={affinity}")


def graph_conv(nodes: np.ndarray, weights: GraphConvWeights, affinity: str = "mean") -> np.ndarray:
    """Eq. 8: one graph convolution over the nodes `[N, d]` of one graph."""
    matrix = affinity_matrix(nodes, weights, affinity)
    convolved = np.zeros(nodes.shape)
    for i in range(len(nodes)):
        gathered = sum(matrix[i, j] * weights.message(nodes[j]) for j in range(len(nodes)))
        convolved[i] = weights.update(gathered) + nodes[i]
    return convolved


def mgcn(
    nodes: np.ndarray,
    layers: Sequence[GraphConvWeights],
    affinity: str = "mean",
    normalizations: Sequence[Callable[[np.ndarray], np.ndarray]] | None = None,
) -> np.ndarray:
    """Eq. 9: graph convolutions in a row, each followed by a normalization of every node."""
    for level, weights in enumerate(layers):
        nodes = graph_conv(nodes, weights, affinity)
        if normalizations is not None:
            nodes = np.stack([normalizations[level](node) for node in nodes])
    return nodes
