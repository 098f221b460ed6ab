"""Contrastive loss over the full matrix of scores, both directions."""

from typing import NamedTuple

import numpy as np


class ContrastiveLoss(NamedTuple):
    """The loss, the slope of every score, and the share of queries with a negative above."""

    loss: float
    score_gradient: np.ndarray
    above: float


def contrastive_loss(
    scores: np.ndarray, image_index: np.ndarray, token_ids: np.ndarray, scale: float
) -> ContrastiveLoss:
    """Mean over the pairs of the two cross-entropies, half each.

    Args:
        scores: `[B, B]`, image i with caption j.
        image_index: `[B]`, equal values for captions of the same image.
        token_ids: `[B, tokens]`, equal rows for equal captions.
        scale: what scores are multiplied by.
    """
    scores = np.float64(scores)
    size = len(scores)

    def describes(caption: int, pair: int) -> bool:
        """Whether the pair's image has some caption with these words."""
        return any(
            image_index[other] == image_index[pair]
            and list(token_ids[other]) == list(token_ids[caption])
            for other in range(size)
        )

    loss, gradient, queries, above = 0.0, np.zeros_like(scores), 0, 0
    for k in range(size):
        # A pair with the same image is among those whose caption describes it.
        others = [j for j in range(size) if not (describes(j, k) or describes(k, j))]
        for places in ([(k, j) for j in [k, *others]], [(j, k) for j in [k, *others]]):
            powers = np.array([np.exp(scale * scores[place]) for place in places])
            shares = powers / powers.sum()
            loss -= np.log(shares[0]) / (2 * size)
            gradient[k, k] -= scale / (2 * size)
            for place, share in zip(places, shares, strict=True):
                gradient[place] += scale * share / (2 * size)
            if others:
                queries += 1
                above += max(scores[place] for place in places[1:]) > scores[k, k]
    return ContrastiveLoss(loss, gradient, above / max(queries, 1))
