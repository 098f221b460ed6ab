"""Float64 building blocks of the oracles."""

from typing import NamedTuple

import numpy as np


class Affine(NamedTuple):
    """A fully connected layer in the rows convention, `y = x K + b`."""

    kernel: np.ndarray
    bias: np.ndarray | float = 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        kernel, bias = np.float64(self.kernel), np.float64(self.bias)
        return np.float64(x) @ kernel + bias


def sigmoid(x: np.ndarray | float) -> np.ndarray | float:
    return 1.0 / (1.0 + np.exp(-np.float64(x)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax of one vector of logits."""
    exponentials = np.exp(logits - np.max(logits))
    return exponentials / np.sum(exponentials)


def l2_normalize(vector: np.ndarray, epsilon: float = 1e-12) -> np.ndarray:
    """One vector scaled to length one; the zero vector stays zero."""
    vector = np.float64(vector)
    return vector / np.sqrt(max(vector @ vector, epsilon))


def l2_normalize_rows(matrix: np.ndarray) -> np.ndarray:
    return np.stack([l2_normalize(row) for row in matrix])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return l2_normalize(a) @ l2_normalize(b)
