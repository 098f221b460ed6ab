"""Files of photographs become pixels."""

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from hslm_tf.extras import load_extra

if TYPE_CHECKING:
    from PIL.Image import Image

# Formats that photographs come in. Pillow knows more, and hands some to other programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
_ORIENTATION = 0x0112
# Greatest values of grey levels that are not 8 bits wide, as programs write them.
_WHITE_POINTS = (1, 255, 65535)


class ImageError(ValueError):
    """A photograph that has no pixels or no features; the message says why."""


def decode_photograph(content: bytes, max_side: int = 1024) -> np.ndarray:
    """Decodes a photograph as people see it: upright, in colour, without transparency.

    What a file is is found from its content, whatever its name. Of an animation the first picture
    is taken. Transparent parts become white.

    Args:
        content: content of the file.
        max_side: longest side of the result, pixels; larger photographs are made smaller.

    Returns:
        uint8 `[h, w, 3]`, red, green, blue.

    Raises:
        ImageError: if it is no photograph, damaged, cut off, or of more than 179 million pixels.
    """
    Image = load_extra("PIL.Image", "images")
    # Pillow warns of damaged metadata, and of large files that it reads all the same.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Loads all plug-ins once; which formats a build of Pillow reads differs.
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    if not content:
        raise ImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            # A JPEG is decoded at a fraction of its size where that is enough.
            image.draft(None, (max_side, max_side))
            image.load()
            image = _upright(_in_colour(image), _orientation(image))
            image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
            return np.array(image, np.uint8)
    except Image.UnidentifiedImageError as error:
        raise ImageError(
            f"it is no photograph that can be read ({', '.join(formats)}); it begins with "
            f"{content[:8]!r}"
        ) from error
    except ImageError:
        raise
    # A damaged file can make a decoder raise anything.
    except Exception as error:
        raise ImageError(f"it cannot be decoded: {error or type(error).__name__}") from error


def _in_colour(image: "Image") -> "Image":
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(_grey_levels(np.asarray(image, np.float64))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _grey_levels(values: np.ndarray) -> np.ndarray:
    """Grey levels of more than 8 bits, or fractions, as uint8."""
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > _WHITE_POINTS[-1]:
        raise ImageError(
            f"its grey levels go from {values.min():g} to {values.max():g}, expected 0 to "
            f"{_WHITE_POINTS[-1]}"
        )
    whole = bool((values == values.round()).all())
    white = next(point for point in _WHITE_POINTS[whole:] if values.max() <= point)
    return (values * (255 / white)).round().astype(np.uint8)


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
