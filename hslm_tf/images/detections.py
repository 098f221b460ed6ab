"""What a detector finds in a photograph."""

from typing import NamedTuple

import numpy as np


class Detections(NamedTuple):
    """Boxes in a photograph, the most confident first.

    Attributes:
        boxes: float32 `[n, 4]`: x0, y0, x1, y1 in [0, 1].
        scores: float32 `[n]`.
    """

    boxes: np.ndarray
    scores: np.ndarray


def cleaned(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    """Sorts what a detector found, and drops what is no box.

    Args:
        boxes: `[n, 4]`: x0, y0, x1, y1, where the photograph is 0 to 1; parts beyond are cut off.
        scores: `[n]`.

    Returns:
        The detections whose numbers are finite and whose box has an area in the photograph.
    """
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    clipped = np.clip(np.where(finite[:, None], boxes, 0), 0, 1)
    good = finite & (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    order = np.flatnonzero(good)
    order = order[np.argsort(-scores[order], kind="stable")]
    return Detections(clipped[order], scores[order])
