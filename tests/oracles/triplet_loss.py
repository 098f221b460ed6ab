"""HSLM Eq. 23 over the full matrix of scores."""

from typing import NamedTuple

import numpy as np


class TripletLoss(NamedTuple):
    """The loss and what it touches; -1 marks a query without an admissible negative."""

    loss: float
    hardest_captions: np.ndarray
    hardest_images: np.ndarray
    score_gradient: np.ndarray


def admissible_negatives(image_index: np.ndarray) -> np.ndarray:
    """Whether image i and caption j may be each other's negatives, `[B, B]`."""
    size = len(image_index)
    admissible = np.zeros((size, size), dtype=bool)
    for i in range(size):
        for j in range(size):
            admissible[i, j] = image_index[i] != image_index[j]
    return admissible


def hardest(scores: np.ndarray, admissible: np.ndarray) -> int:
    """Index of the highest admissible score, the first of equals, or -1 if there is none."""
    best = -1
    for index, score in enumerate(scores):
        if admissible[index] and (best < 0 or score > scores[best]):
            best = index
    return best


def triplet_loss(
    scores: np.ndarray,
    image_index: np.ndarray,
    margin: float = 0.2,
    caption_candidates: np.ndarray | None = None,
    image_candidates: np.ndarray | None = None,
) -> TripletLoss:
    """Bi-directional hardest-negative triplet loss, mean over the pairs of the batch.

    Args:
        scores: `[B, B]`, image i with caption j; the pairs that belong together on the diagonal.
        image_index: `[B]`, equal values for captions of the same image.
        margin: beta of Eq. 23.
        caption_candidates: `[B, B]`, images x captions, which captions an image may choose from.
        image_candidates: `[B, B]`, captions x images, which images a caption may choose from.
    """
    scores = np.float64(scores)
    size = len(scores)
    admissible = admissible_negatives(image_index)
    captions = admissible if caption_candidates is None else admissible & caption_candidates
    images = admissible.T if image_candidates is None else admissible.T & image_candidates
    hardest_captions = np.array([hardest(scores[k, :], captions[k, :]) for k in range(size)])
    hardest_images = np.array([hardest(scores[:, k], images[k, :]) for k in range(size)])

    loss, gradient = 0.0, np.zeros_like(scores)
    for k in range(size):
        negatives = []
        if hardest_captions[k] >= 0:
            negatives.append((k, hardest_captions[k]))
        if hardest_images[k] >= 0:
            negatives.append((hardest_images[k], k))
        for negative in negatives:
            hinge = margin - scores[k, k] + scores[negative]
            if hinge > 0.0:
                loss += hinge / size
                gradient[k, k] -= 1.0 / size
                gradient[negative] += 1.0 / size
    return TripletLoss(loss, hardest_captions, hardest_images, gradient)
