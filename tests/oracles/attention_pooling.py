"""The global vector of HSLM Sec. 3.5."""

import numpy as np

from tests.oracles.numerics import Affine, l2_normalize, softmax


def attention_pooling(vectors: np.ndarray, query: Affine, key: Affine) -> np.ndarray:
    """Local vectors `[M, d]` pooled into one of length one, `[d]`, with their mean as the query."""
    vectors = np.float64(vectors)
    mean_query = query(np.mean(vectors, axis=0))
    logits = [mean_query @ key(vector) / np.sqrt(vectors.shape[1]) for vector in vectors]
    probabilities = softmax(np.array(logits))
    return l2_normalize(sum(p * vector for p, vector in zip(probabilities, vectors, strict=True)))
