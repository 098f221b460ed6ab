"""Photographs of a folder as small pictures that stand in a page."""

import base64
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hslm_tf.images.photographs import ImageError, decode_photograph

_SUFFIXES = ("", ".jpg", ".jpeg", ".png")
_LONGEST_SIDE = 320
# Boxes may be in pixels of the whole photograph.
_WHOLE = 1 << 20


class Picture(NamedTuple):
    """A photograph."""

    data: str | None
    width: int
    height: int


NO_PICTURE = Picture(None, 4, 3)


def find_image(folder: str | os.PathLike[str] | None, image_id: str) -> Path | None:
    """Finds the file of an image."""
    if folder is None or not image_id:
        return None
    inside = Path(folder).resolve()
    for suffix in _SUFFIXES:
        try:
            file = (inside / (image_id + suffix)).resolve()
            if file.is_relative_to(inside) and file.is_file():
                return file
        # No file has a name that the system does not know, or one as long as a caption.
        except (OSError, ValueError):
            return None
    return None


def read_image(file: Path | None) -> np.ndarray | None:
    """Reads an image as people see it, upright."""
    try:
        return None if file is None else decode_photograph(file.read_bytes(), _WHOLE)
    except (ImageError, OSError):
        return None


def picture_of(
    folder: str | os.PathLike[str] | None, image_id: str, longest_side: int = _LONGEST_SIDE
) -> Picture:
    """Makes the small picture of an image."""
    return picture_of_file(find_image(folder, image_id), longest_side)


def picture_of_file(file: Path | None, longest_side: int = _LONGEST_SIDE) -> Picture:
    """Makes the small picture of a file."""
    image = read_image(file)
    if image is None:
        return NO_PICTURE
    height, width = image.shape[:2]
    factor = min(1.0, longest_side / max(height, width))
    size = [max(1, round(height * factor)), max(1, round(width * factor))]
    small = tf.image.resize(image, size, antialias=True)
    jpeg = tf.io.encode_jpeg(tf.cast(tf.clip_by_value(small, 0, 255), tf.uint8), quality=85)
    data = base64.b64encode(jpeg.numpy()).decode()
    return Picture(f"data:image/jpeg;base64,{data}", width, height)
