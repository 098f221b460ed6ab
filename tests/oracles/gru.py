"""Bidirectional GRU of one caption, HSLM Eq. 12-14, word by word."""

from typing import NamedTuple

import numpy as np

from tests.oracles.numerics import sigmoid


class GRUWeights(NamedTuple):
    """Weights of one direction, gates in the order z, r, c; `bias` is `[2, 3 units]`."""

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray


def gru(words: np.ndarray, weights: GRUWeights) -> np.ndarray:
    """States `[M, units]` after each word of `[M, width]`."""
    kernel, recurrent_kernel, bias = (np.float64(weight) for weight in weights)
    state, states = np.zeros(len(recurrent_kernel)), []
    for word in np.float64(words):
        x_z, x_r, x_c = np.split(word @ kernel + bias[0], 3)
        h_z, h_r, h_c = np.split(state @ recurrent_kernel + bias[1], 3)
        update, reset = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        state = update * state + (1 - update) * np.tanh(x_c + reset * h_c)
        states.append(state)
    return np.stack(states)


def bidirectional_gru(words: np.ndarray, forward: GRUWeights, backward: GRUWeights) -> np.ndarray:
    """Mean of both directions, `[M, units]`."""
    return (gru(words, forward) + gru(words[::-1], backward)[::-1]) / 2
