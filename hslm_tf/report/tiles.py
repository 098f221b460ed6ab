"""Photographs as square tiles, alone or side by side in one image."""

import os

import numpy as np
import tensorflow as tf

from hslm_tf.report.pictures import find_image, read_image

_NO_PHOTOGRAPH = 200


def photo_tile(
    folder: str | os.PathLike[str] | None, image_id: str, side: int, frame: str | None = None
) -> np.ndarray:
    """Fits a photograph into a square, with nothing cut off."""
    image = read_image(find_image(folder, image_id))
    if image is None:
        tile = np.full((side, side, 3), _NO_PHOTOGRAPH, np.uint8)
    else:
        tile = tf.image.resize_with_pad(image, side, side, antialias=True).numpy()
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
