"""Regions of an image as rectangles to be drawn, and which of them the words attend to."""

from typing import NamedTuple

import numpy as np

from hslm_tf.report.explanation import Explanation
from hslm_tf.report.pictures import Picture

# Rectangles are measured in thousandths of the picture's width: whole numbers keep pages small.
UNITS = 1000


class Region(NamedTuple):
    """A region of an image."""

    x: int
    y: int
    width: int
    height: int
    opacity: float
    word: str = ""


def height_of(picture: Picture) -> int:
    """Height of a picture whose width is `UNITS`."""
    return round(UNITS * picture.height / picture.width)


def rectangles_of(boxes: np.ndarray | None, picture: Picture) -> np.ndarray | None:
    """Boxes in the units that they are drawn in."""
    if boxes is None:
        return None
    boxes = np.asarray(boxes, np.float64)
    if boxes.max(initial=0) > 1.5:
        if picture.data is None:
            return None
        boxes = boxes / [picture.width, picture.height, picture.width, picture.height]
    corners = np.rint(boxes * np.tile([UNITS, height_of(picture)], 2)).astype(int)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def strongest_regions(explanation: Explanation, rectangles: np.ndarray, count: int) -> list[Region]:
    """The regions that a caption attends to most."""
    strength = explanation.attention[1:-1] * explanation.word_weights[1:-1, None]
    if not len(strength):
        return []
    words = [explanation.words[1 + row] for row in strength.argmax(axis=0)]
    return _regions(strength.max(axis=0), rectangles, count, words)


def word_regions(
    explanation: Explanation, rectangles: np.ndarray, count: int
) -> list[list[Region]]:
    """The regions that each word attends to most."""
    return [_regions(row, rectangles, count) for row in explanation.attention[1:-1]]


def _regions(
    strength: np.ndarray, rectangles: np.ndarray, count: int, words: list[str] | None = None
) -> list[Region]:
    strongest = np.argsort(-strength, kind="stable")[:count]
    strongest = strongest[strength[strongest] > 0]
    sizes = rectangles[:, 2] * rectangles[:, 3]
    return [
        Region(
            *rectangles[region].tolist(),
            opacity=round(float(strength[region] / strength.max()), 2),
            word=words[region] if words else "",
        )
        for region in sorted(strongest, key=lambda region: -sizes[region])
    ]
