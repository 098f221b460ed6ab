"""HSLM Eq. 3-6."""

import numpy as np

from tests.oracles.numerics import Affine


def self_attention(
    words: np.ndarray, key: Affine, query: Affine, value: Affine, residual: bool = False
) -> np.ndarray:
    """Word features `[M, d]` enhanced by the other words of the caption, `[M, d]`."""
    keys, queries, values = key(words), query(words), value(words)
    num_words = len(words)
    enhanced = np.zeros_like(values)
    for j in range(num_words):
        for k in range(num_words):
            enhanced[j] += (keys[j] @ queries[k]) / num_words * values[k]
    return enhanced + words if residual else enhanced
