"""Photographs at the size that a detector takes."""

from typing import NamedTuple

import numpy as np


class Fitted(NamedTuple):
    """A photograph at another size."""

    pixels: np.ndarray
    scale: np.ndarray


def fitted(image: np.ndarray, height: int, width: int, keep_aspect: bool) -> Fitted:
    """Resizes a photograph."""
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
