"""HSLM Eq. 17-22."""

import numpy as np

from tests.oracles.numerics import Affine, l2_normalize, sigmoid


def similarity_representation(m1: np.ndarray, m2: np.ndarray, projection: Affine) -> np.ndarray:
    """Eq. 17: how two vectors `[d]` differ, as a vector of length one, `[s]`."""
    return l2_normalize(projection((np.float64(m1) - np.float64(m2)) ** 2))


def similarity_fusion(
    similarities: np.ndarray,
    gate: Affine,
    score: Affine,
    normalize: bool = True,
    balance: bool = False,
) -> float:
    """Eq. 20-22: the score of all similarity vectors `[K, s]` of one image and one caption.

    With `balance` the last, the global one, counts as often as there are others.
    """
    fused = np.zeros(similarities.shape[1])
    gates = [sigmoid(gate(vector).item()) for vector in similarities]
    if balance:
        gates[-1] *= len(similarities) - 1
    for weight, vector in zip(gates, similarities, strict=True):
        fused += weight * vector
    if normalize:
        fused = l2_normalize(fused / sum(gates))
    return score(fused).item()
