"""Which answers a matrix of scores gives to every query: the right one, and the hardest wrong."""

from typing import NamedTuple

import numpy as np

from hslm_tf.evaluation.ranks import ranks

# What the two directions are called, as in the recalls, and in words.
DIRECTIONS = {"i2t": "images looking for captions", "t2i": "captions looking for images"}


class Answers(NamedTuple):
    """How the queries of one direction are answered."""

    ranks: np.ndarray
    right: np.ndarray
    right_scores: np.ndarray
    wrong: np.ndarray
    wrong_scores: np.ndarray
    num_items: int


def answers_of(scores: np.ndarray, caption_to_image: np.ndarray) -> dict[str, Answers]:
    """Finds the answers in both directions, among all items."""
    num_images, num_captions = scores.shape
    if num_images < 2:
        raise ValueError(f"Wrong answers need two images. Received: num_images={num_images}")
    i2t_ranks, t2i_ranks = ranks(scores, caption_to_image)
    captions = np.arange(num_captions)
    own = scores[caption_to_image, captions]
    # The first caption of every image, when they come from the highest score to the lowest.
    order = np.argsort(-own, kind="stable")
    best = order[np.unique(caption_to_image[order], return_index=True)[1]]

    wrong = scores.copy()
    wrong[caption_to_image, captions] = -np.inf
    found = wrong.argmax(axis=1), wrong.argmax(axis=0)
    return {
        "i2t": Answers(i2t_ranks, best, own[best], found[0], wrong.max(axis=1), num_captions),
        "t2i": Answers(t2i_ranks, caption_to_image, own, found[1], wrong.max(axis=0), num_images),
    }
