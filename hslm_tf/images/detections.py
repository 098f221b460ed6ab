"""What a detector finds in a photograph."""

from typing import NamedTuple

import numpy as np


class Detections(NamedTuple):
    """Boxes in a photograph, the most confident first."""

    boxes: np.ndarray
    scores: np.ndarray


def cleaned(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    """Sorts what a detector found, and drops what is no box."""
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    clipped = np.clip(np.where(finite[:, None], boxes, 0), 0, 1)
    good = finite & (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    order = np.flatnonzero(good)
    order = order[np.argsort(-scores[order], kind="stable")]
    return Detections(clipped[order], scores[order])
