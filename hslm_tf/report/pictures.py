"""Photographs of a folder as small pictures that stand in a page."""

import base64
import os
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

_SUFFIXES = ("", ".jpg", ".jpeg", ".png")
_LONGEST_SIDE = 320


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
        image_id: the image; only a plain name is looked for, never a path out of the folder.

    Returns:
        The file, or None.
    """
    if folder is None or Path(image_id).name != image_id:
        return None
    files = (Path(folder) / (image_id + suffix) for suffix in _SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def read_image(folder: str | os.PathLike[str] | None, image_id: str) -> tf.Tensor | None:
    """Reads an image.

    Args:
        folder: as for `find_image`.
        image_id: the image.

    Returns:
        uint8 `[height, width, 3]`; None where there is no file, or one that cannot be read.
    """
    file = find_image(folder, image_id)
    if file is None:
        return None
    try:
        return tf.io.decode_image(tf.io.read_file(str(file)), 3, expand_animations=False)
    except tf.errors.OpError:
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
    image = read_image(folder, image_id)
    if image is None:
        return NO_PICTURE
    height, width = image.shape[:2]
    factor = min(1.0, longest_side / max(height, width))
    size = [max(1, round(height * factor)), max(1, round(width * factor))]
    small = tf.image.resize(image, size, antialias=True)
    jpeg = tf.io.encode_jpeg(tf.cast(tf.clip_by_value(small, 0, 255), tf.uint8), quality=85)
    data = base64.b64encode(jpeg.numpy()).decode()
    return Picture(f"data:image/jpeg;base64,{data}", width, height)
