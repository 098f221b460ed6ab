"""Photographs at the size that a detector takes."""

from typing import NamedTuple

import numpy as np


class Fitted(NamedTuple):
    """A photograph at another size.

    Attributes:
        pixels: uint8 `[height, width, 3]`; what the photograph does not fill, right and below, is
            grey.
        scale: float32 `[4]`: x0, y0, x1, y1 in pixels are divided by it to be shares of the
            photograph.
    """

    pixels: np.ndarray
    scale: np.ndarray


def fitted(image: np.ndarray, height: int, width: int, keep_aspect: bool) -> Fitted:
    """Resizes a photograph.

    Args:
        image: uint8 `[h, w, 3]`.
        height: pixels of the result.
        width: pixels of the result.
        keep_aspect: whether the photograph keeps its proportions and leaves a part unfilled.

    Returns:
        The photograph.
    """
    from PIL import Image

    inner_height, inner_width = height, width
    if keep_aspect:
        factor = min(height / image.shape[0], width / image.shape[1])
        inner_height = max(1, round(image.shape[0] * factor))
        inner_width = max(1, round(image.shape[1] * factor))
    pixels = np.full((height, width, 3), 114, np.uint8)
    inner = Image.fromarray(image).resize((inner_width, inner_height), Image.Resampling.BILINEAR)
    pixels[:inner_height, :inner_width] = np.asarray(inner)
    return Fitted(pixels, np.array([inner_width, inner_height] * 2, np.float32))
