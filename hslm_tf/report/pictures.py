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
    """A photograph.

    Attributes:
        data: the small picture as a data URI; None where there is no photograph.
        width: width of the photograph in pixels; 4 : 3 where there is none.
        height: its height.
    """

    data: str | None
    width: int
    height: int


NO_PICTURE = Picture(None, 4, 3)


def find_image(folder: str | os.PathLike[str] | None, image_id: str) -> Path | None:
    """Finds the file of an image.

    Args:
        folder: the folder, or None.
        image_id: the image, which may be a path in the folder; nothing outside of it is found.

    Returns:
        The file, or None.
    """
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
    """Reads an image as people see it, upright.

    Args:
        file: its file, or None.

    Returns:
        uint8 `[height, width, 3]`; None where there is no file, or one that cannot be read.
    """
    try:
        return None if file is None else decode_photograph(file.read_bytes(), _WHOLE)
    except (ImageError, OSError):
        return None


def picture_of(
    folder: str | os.PathLike[str] | None, image_id: str, longest_side: int = _LONGEST_SIDE
) -> Picture:
    """Makes the small picture of an image.

    Args:
        folder: folder with the image files, called as the image's id, with or without its ending;
            or None.
        image_id: the image.
        longest_side: pixels of the small picture.

    Returns:
        The picture; `NO_PICTURE` where there is no file, or one that cannot be read.
    """
    return picture_of_file(find_image(folder, image_id), longest_side)


def picture_of_file(file: Path | None, longest_side: int = _LONGEST_SIDE) -> Picture:
    """Makes the small picture of a file.

    Args:
        file: the file, or None.
        longest_side: pixels of the small picture.

    Returns:
        The picture; `NO_PICTURE` where there is no file, or one that cannot be read.
    """
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
