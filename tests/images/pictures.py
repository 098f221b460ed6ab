"""Photographs that the tests draw."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 210), "grey": (128,) * 3}


def corners(height: int = 40, width: int = 60) -> np.ndarray:
    """Four quarters, each of a colour of its own, so that every turn shows."""
    picture = np.zeros((height, width, 3), np.uint8)
    quarters = iter(COLOURS.values())
    for rows in (slice(0, height // 2), slice(height // 2, height)):
        for columns in (slice(0, width // 2), slice(width // 2, width)):
            picture[rows, columns] = next(quarters)
    return picture


def encoded(picture: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    """Content of a file."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write(path: Path, seed: int = 0, size: tuple[int, int] = (48, 64)) -> Path:
    """A smooth picture of its own for every seed; the suffix says the format."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 5, 3), np.uint8)
    image = Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path
