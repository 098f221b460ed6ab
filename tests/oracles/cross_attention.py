"""HSLM Eq. 15-16."""

import numpy as np

from tests.oracles.numerics import cosine, sigmoid, softmax


def attention_weights(
    words: np.ndarray, regions: np.ndarray, activation: str = "sigmoid", gamma: float = 10.0
) -> np.ndarray:
    """Eq. 16: the weight `a_ji` of region i `[N, d]` for word j `[M, d]`, `[M, N]`."""
    logits = np.zeros((len(words), len(regions)))
    for j, word in enumerate(np.float64(words)):
        for i, region in enumerate(np.float64(regions)):
            dot = activation == "dot_sigmoid"
            logits[j, i] = word @ region if dot else cosine(word, region)
    if activation == "leaky_softmax":
        logits = np.where(logits < 0, 0.1 * logits, logits)
        for i in range(len(regions)):
            logits[:, i] /= np.sqrt(max(logits[:, i] @ logits[:, i], 1e-12))
    if activation == "hard":
        return np.eye(len(regions))[np.argmax(logits, axis=1)]
    if activation != "dot_sigmoid":
        logits *= gamma
    if activation.endswith("softmax"):
        return np.stack([softmax(row) for row in logits])
    return sigmoid(logits)


def cross_attention(
    words: np.ndarray,
    regions: np.ndarray,
    activation: str = "sigmoid",
    gamma: float = 10.0,
    normalize: bool = True,
    epsilon: float = 1e-12,
) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 15: one attended image vector per word, `[M, d]`, and its weights, `[M, N]`."""
    weights = attention_weights(words, regions, activation, gamma)
    attended = np.zeros(words.shape)
    for j in range(len(words)):
        for i in range(len(regions)):
            attended[j] += weights[j, i] * np.float64(regions[i])
        if normalize:
            scale = 1.0 / np.sqrt(max(attended[j] @ attended[j], epsilon))
            attended[j] *= scale
            weights[j] *= scale
    return attended, weights
