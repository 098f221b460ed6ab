"""Photographs of a folder: small pictures for pages, boxes drawn on them, and square tiles."""

import base64
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hslm_tf.images.photographs import Decoded, ImageError, decode_with_size

_SUFFIXES = ("", ".jpg", ".jpeg", ".png")
# Drawings are measured in thousandths of the picture's width: whole numbers keep pages small.
_UNITS = 1000
_NO_PHOTOGRAPH = 200


class Picture(NamedTuple):
    """A small picture as a data URI, if any, and the size of the photograph in pixels."""

    data: str | None
    # Boxes may be in pixels of the photograph as it is stored.
    width: int
    height: int

    @property
    def drawn_height(self) -> int:
        """Height of a drawing on the picture that is 1,000 units wide."""
        return round(_UNITS * self.height / self.width)


NO_PICTURE = Picture(None, 4, 3)


def find_image(folder: str | os.PathLike[str] | None, image_id: str) -> Path | None:
    """Finds the file of an image, which cannot lie outside of the folder."""
    if folder is None or not image_id:
        return None
    inside = Path(folder).resolve()
    for suffix in _SUFFIXES:
        try:
            file = (inside / (image_id + suffix)).resolve()
            if file.is_relative_to(inside) and file.is_file():
                return file
        # The id is too long for a file's name, or holds a character that no name has.
        except (OSError, ValueError):
            return None
    return None


def read_image(file: Path | None, longest_side: int) -> Decoded | None:
    """Reads a photograph, upright; None without a file or with one that cannot be read."""
    try:
        return None if file is None else decode_with_size(file.read_bytes(), longest_side)
    except (ImageError, OSError):
        return None


def picture_of(file: Path | None, longest_side: int = 320) -> Picture:
    """Makes the small picture of a photograph."""
    image = read_image(file, longest_side)
    if image is None:
        return NO_PICTURE
    jpeg = tf.io.encode_jpeg(image.pixels, quality=85)
    data = base64.b64encode(jpeg.numpy()).decode()
    return Picture(f"data:image/jpeg;base64,{data}", image.width, image.height)


def rectangles_of(boxes: np.ndarray | None, picture: Picture) -> np.ndarray | None:
    """Boxes as x, y, width and height in units of the drawing, int `[N, 4]`."""
    if boxes is None:
        return None
    boxes = np.asarray(boxes, np.float64)
    if boxes.max(initial=0) > 1.5:
        # The boxes are in pixels: without the photograph their unit is unknown.
        if picture.data is None:
            return None
        boxes = boxes / [picture.width, picture.height, picture.width, picture.height]
    corners = np.rint(boxes * np.tile([_UNITS, picture.drawn_height], 2)).astype(int)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def photo_tile(
    folder: str | os.PathLike[str] | None, image_id: str, side: int, frame: str | None = None
) -> np.ndarray:
    """Fits a photograph into a square, with nothing cut off."""
    image = read_image(find_image(folder, image_id), side)
    if image is None:
        tile = np.full((side, side, 3), _NO_PHOTOGRAPH, np.uint8)
    else:
        tile = tf.image.resize_with_pad(image.pixels, side, side, antialias=True).numpy()
        tile = tile.round().clip(0, 255).astype(np.uint8)
    if frame is not None:
        width = max(1, side // 20)
        inner = tile[width:-width, width:-width].copy()
        tile[:] = np.frombuffer(bytes.fromhex(frame.removeprefix("#")), np.uint8)
        tile[width:-width, width:-width] = inner
    return tile


def mosaic(tiles: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Lays tiles out in rows, from left to right."""
    side = tiles.shape[1]
    filled = np.full((rows * columns, side, side, 3), 255, np.uint8)
    filled[: len(tiles)] = tiles
    grid = filled.reshape(rows, columns, side, side, 3)
    return grid.swapaxes(1, 2).reshape(rows * side, columns * side, 3)
