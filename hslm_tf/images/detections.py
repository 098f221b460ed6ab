"""Boxes that a detector finds, and the photograph at the size that the detector takes."""

from typing import NamedTuple

import numpy as np


class Detections(NamedTuple):
    """Boxes x0, y0, x1, y1 in [0, 1], float32 `[n, 4]`, the most confident first."""

    boxes: np.ndarray
    scores: np.ndarray


def cleaned(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    """Clips and sorts boxes; drops those without an area and those that are not finite."""
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    clipped = np.clip(np.where(finite[:, None], boxes, 0), 0, 1)
    good = finite & (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    order = np.flatnonzero(good)
    order = order[np.argsort(-scores[order], kind="stable")]
    return Detections(clipped[order], scores[order])


def fitted(
    image: np.ndarray, height: int, width: int, keep_aspect: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Resizes a photograph: its pixels, and the `[4]` that divides boxes into shares of it."""
    from PIL import Image

    inner_height, inner_width = height, width
    if keep_aspect:
        factor = min(height / image.shape[0], width / image.shape[1])
        inner_height = max(1, round(image.shape[0] * factor))
        inner_width = max(1, round(image.shape[1] * factor))
    # The rest, on the right and below, is grey.
    pixels = np.full((height, width, 3), 114, np.uint8)
    inner = Image.fromarray(image).resize((inner_width, inner_height), Image.Resampling.BILINEAR)
    pixels[:inner_height, :inner_width] = np.asarray(inner)
    return pixels, np.array([inner_width, inner_height] * 2, np.float32)
