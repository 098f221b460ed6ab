"""Regions of an image as rectangles to be drawn, and which of them the words attend to."""

from typing import NamedTuple

import numpy as np

from hslm_tf.report.explanation import Explanation
from hslm_tf.report.pictures import Picture

# Rectangles are measured in thousandths of the picture's width: whole numbers keep pages small.
UNITS = 1000


class Region(NamedTuple):
    """A region of an image.

    Attributes:
        x: left edge, in thousandths of the picture's width, as all that follow.
        y: upper edge.
        width: width.
        height: height.
        opacity: from 0 to 1, how strongly it is attended to.
        word: the word that attends to it most, or nothing.
    """

    x: int
    y: int
    width: int
    height: int
    opacity: float
    word: str = ""


def height_of(picture: Picture) -> int:
    """Height of a picture whose width is `UNITS`.

    Args:
        picture: the picture.

    Returns:
        The height.
    """
    return round(UNITS * picture.height / picture.width)


def rectangles_of(boxes: np.ndarray | None, picture: Picture) -> np.ndarray | None:
    """Boxes in the units that they are drawn in.

    Args:
        boxes: `[N, 4]` x0, y0, x1, y1, as parts of the image or in pixels, or None.
        picture: the picture that they are drawn on.

    Returns:
        int `[N, 4]` x, y, width, height; None without boxes, or where they are in pixels and the
        size of the image is not known.
    """
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
    """The regions that a caption attends to most.

    A region is as strong as the largest product of a word's gate and its attention to the region;
    `<start>` and `<end>` do not count.

    Args:
        explanation: of the caption.
        rectangles: `[N, 4]`, see `rectangles_of`.
        count: largest number of regions.

    Returns:
        The regions, large ones first: small ones are drawn on top, where a pointer reaches them.
    """
    strength = explanation.attention[1:-1] * explanation.word_weights[1:-1, None]
    if not len(strength):
        return []
    words = [explanation.words[1 + row] for row in strength.argmax(axis=0)]
    return _regions(strength.max(axis=0), rectangles, count, words)


def word_regions(
    explanation: Explanation, rectangles: np.ndarray, count: int
) -> list[list[Region]]:
    """The regions that each word attends to most.

    Args:
        explanation: of the caption.
        rectangles: `[N, 4]`, see `rectangles_of`.
        count: largest number of regions of a word.

    Returns:
        For every word but `<start>` and `<end>` its regions, large ones first.
    """
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
