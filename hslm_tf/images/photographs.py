"""Decodes photographs."""

import functools
import io
import logging
import re
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hslm_tf.command_line import load_extra

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# Formats that photographs come in. Pillow knows more, and hands some to other programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
# Pixels that are decoded; Pillow needs up to 4 bytes for each. A script may raise it. A JPEG that
# is decoded at a fraction of its size may have four times as many: telephones have 200 million.
MOST_PIXELS = 50 * 2**20
_ORIENTATION = 0x0112
# Greatest values of grey levels that are not 8 bits wide, as programs write them.
_WHITE_POINTS = {"F": (1, 255, 65535), "I": (255, 65535)}
# Pillow warns of damaged metadata.
_NO_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


class ImageError(ValueError):
    """A photograph that has no pixels or no features; the message says why."""


class Decoded(NamedTuple):
    """The pixels of a photograph, and its size before it was made smaller."""

    pixels: np.ndarray
    width: int
    height: int


def decode_photograph(content: bytes, max_side: int = 1024) -> np.ndarray:
    """Decodes a photograph as people see it: upright, in colour, without transparency."""
    return decode_with_size(content, max_side).pixels


def decode_with_size(content: bytes, max_side: int) -> Decoded:
    """Decodes a photograph and says how large it is."""
    load_extra("PIL", "images")
    # Filters belong to the process. Setting one again would show the warnings of others again.
    if warnings.filters[:1] != [_NO_WARNINGS]:
        warnings.filterwarnings("ignore", module=_NO_WARNINGS[3].pattern)
    try:
        return _decoded(content, max_side)
    except ImageError:
        raise
    # A damaged file can make a decoder raise anything.
    except Exception as error:
        raise ImageError(f"it cannot be decoded: {error or type(error).__name__}") from error


def _decoded(content: bytes, max_side: int) -> Decoded:
    from PIL.Image import Resampling

    image = _opened(content)
    width, height = image.size
    # A JPEG is decoded at a fraction of its size where that is enough.
    image.draft(None, (max_side, max_side))
    most = MOST_PIXELS if image.size == (width, height) else 4 * MOST_PIXELS
    if not 0 < width * height <= most:
        raise ImageError(f"it has {width * height:,} pixels, expected 1 to {most:,}")
    image.load()
    orientation = _orientation(image)
    small = _eight_bits(image)
    small.thumbnail((max_side, max_side), Resampling.BICUBIC)
    pixels = np.array(_upright(_opaque(small), orientation), np.uint8)
    # The orientations from 5 on turn it onto its side.
    return Decoded(pixels, *((height, width) if 5 <= orientation <= 8 else (width, height)))


@functools.cache
def _openers() -> dict:
    """Pillow's openers of the formats; which ones a build of Pillow has differs."""
    from PIL import Image

    # Python prints what Pillow logs unless there is a handler.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    Image.init()
    return {name: Image.OPEN[name] for name in _FORMATS if name in Image.OPEN}


def _opened(content: bytes) -> "ImageFile":
    """Opens a file as `Image.open` does, without its limit, which large cameras exceed."""
    if not content:
        raise ImageError("the file is empty")
    for make, accepts in _openers().values():
        # For a format that this build does not decode, Pillow answers with a message.
        if accepts(content[:16]) and not isinstance(accepts(content[:16]), str):
            return make(io.BytesIO(content), "")
    raise ImageError(
        f"it is no photograph that can be read ({', '.join(_openers())}); it begins with "
        f"{content[:8]!r}"
    )


def _eight_bits(image: "Image") -> "Image":
    """The image in grey, in colour, or in colour with transparency."""
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(_grey_levels(image))
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _grey_levels(image: "Image") -> np.ndarray:
    """Grey levels of more than 8 bits, or fractions, as uint8."""
    values = np.array(image, np.float32)
    lowest, highest = values.min(), values.max()
    points = _WHITE_POINTS.get(image.mode, (65535,))
    if image.format == "PPM" and image.mode == "I":
        points = (65535,)  # Pillow scales them
    # NaN compares as False.
    if not (lowest >= 0 and highest <= points[-1]):
        raise ImageError(
            f"its grey levels go from {lowest:g} to {highest:g}, expected 0 to {points[-1]}"
        )
    values *= 255 / next(point for point in points if highest <= point)
    return np.rint(values, out=values).astype(np.uint8)


def _opaque(image: "Image") -> "Image":
    from PIL import Image

    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _orientation(image: "Image") -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    # Metadata can be damaged in any way; the pixels are good.
    except Exception:
        return 1


def _upright(image: "Image", orientation: int) -> "Image":
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image
