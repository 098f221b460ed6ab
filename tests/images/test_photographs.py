import io
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from hslm_tf.images import photographs
from hslm_tf.images.photographs import ImageError, decode_photograph
from tests.images.pictures import COLOURS, corners, encoded

TURNS = {
    1: lambda picture: picture,
    2: lambda picture: picture[:, ::-1],
    3: lambda picture: picture[::-1, ::-1],
    4: lambda picture: picture[::-1],
    5: lambda picture: picture.transpose(1, 0, 2),
    6: lambda picture: np.rot90(picture, 1),
    7: lambda picture: np.rot90(picture, 2).transpose(1, 0, 2),
    8: lambda picture: np.rot90(picture, -1),
}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def check_close(found: np.ndarray, expected: np.ndarray, tolerance: int = 12) -> None:
    assert found.dtype == np.uint8 and found.shape == expected.shape
    # JPEG smears colours at edges.
    difference = np.abs(found.astype(int) - expected).max(axis=-1)
    assert np.mean(difference <= tolerance) > 0.9


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_upright(kind, orientation):
    # The camera was held so that the stored picture must be turned to give the one that is seen.
    seen = corners()
    stored = np.ascontiguousarray(TURNS[orientation](seen))
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    found = decode_photograph(encoded(stored, kind, exif=exif(orientation), **options))
    check_close(found, seen)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_formats(kind):
    check_close(decode_photograph(encoded(corners(), kind)), corners(), 30)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind):
    content = encoded(Image.fromarray(corners()).convert("CMYK"), kind)
    assert kind == "TIFF" or b"Adobe" in content, "the marker says that the inks are inverted"
    check_close(decode_photograph(content), corners(), 40)


def test_ycck():
    image = Image.fromarray(corners()).convert("CMYK")
    cyan, magenta, yellow, black = image.split()
    inks = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr")
    # Pillow inverts what it writes, black alone is inverted in a YCCK file.
    planes = [band.point(lambda level: 255 - level) for band in inks.split()]
    content = bytearray(encoded(Image.merge("CMYK", (*planes, black)), "JPEG", quality=95))
    transform = content.index(b"Adobe") + 11
    assert content[transform] == 0
    content[transform] = 2
    check_close(decode_photograph(bytes(content)), corners())


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "YCbCr"])
def test_modes(mode):
    image = Image.fromarray(corners()).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    content = encoded(image, "JPEG" if mode == "YCbCr" else "PNG")
    check_close(decode_photograph(content), expected, 30)


def test_transparent_parts_become_white():
    picture = np.dstack([corners(), np.full((40, 60), 255, np.uint8)])
    picture[:, :10, 3] = 0
    found = decode_photograph(encoded(picture, "PNG"))
    assert (found[:, :10] == 255).all()
    np.testing.assert_array_equal(found[:, 10:], corners()[:, 10:])
    half = np.full((4, 4, 4), (0, 0, 0, 128), np.uint8)
    assert (decode_photograph(encoded(half, "PNG")) == 127).all()


def test_transparent_grey_and_palettes():
    picture = np.full((4, 6, 2), (90, 255), np.uint8)
    picture[:, 3:, 1] = 0
    found = decode_photograph(encoded(Image.fromarray(picture, "LA"), "PNG"))
    assert (found[:, :3] == 90).all() and (found[:, 3:] == 255).all()
    image = Image.fromarray(corners()).quantize(4)
    index = np.asarray(image)[0, 0]
    found = decode_photograph(encoded(image, "PNG", transparency=int(index)))
    assert (found[:20, :30] == 255).all()
    assert tuple(found[30, 45]) == COLOURS["grey"]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(kind):
    levels = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    found = decode_photograph(encoded(levels, kind))
    np.testing.assert_array_equal(found[..., 0], np.arange(256)[None].repeat(4, 0))
    assert (found == found[..., :1]).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_a_dark_photograph_of_16_bits_stays_dark(kind):
    found = decode_photograph(encoded(np.full((3, 4), 200, np.uint16), kind))
    assert (found == 1).all()


def png(width: int, height: int, depth: int, content: bytes) -> bytes:
    """A PNG of red, green and blue, whatever its content."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(content)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def test_16_bit_colour():
    row = b"\0" + struct.pack(">3H", 65535, 0x8000, 0) * 3
    assert (decode_photograph(png(3, 2, 16, row * 2)) == (255, 128, 0)).all()


def test_16_bit_colour_in_a_tiff():
    # Pillow does not write it: the file of a photograph of 8 bits gets longer samples.
    levels = np.array([[[65535, 0x8000, 0]] * 3] * 2, "<u2").tobytes()
    entries = [
        *((256, 3, 1, 3), (257, 3, 1, 2), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, 1, 14), (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, len(levels))),
    ]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    start = struct.pack("<2sHI3H", b"II", 42, 14 + len(levels), 16, 16, 16)
    assert (decode_photograph(start + levels + directory) == (255, 128, 0)).all()


@pytest.mark.parametrize("scale", [1, 255, 65535])
def test_fractions_and_large_levels(scale):
    levels = np.linspace(0, scale, 12, dtype=np.float32).reshape(3, 4)
    levels[0, 1] += scale * 1e-4
    found = decode_photograph(encoded(levels, "TIFF"))
    np.testing.assert_allclose(found[..., 1], levels / scale * 255, atol=0.51)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1, 1e6])
def test_levels_without_meaning(value):
    levels = np.full((3, 4), 7, np.float32)
    levels[1, 1] = value
    with pytest.raises(ImageError, match="grey levels go from .* expected 0 to 65535"):
        decode_photograph(encoded(levels, "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "MPO"])
def test_the_first_of_several_pictures_is_taken(kind):
    other = Image.new("RGB", (60, 40), "white")
    content = encoded(corners(), kind, save_all=True, append_images=[other])
    assert Image.open(io.BytesIO(content)).n_frames == 2
    check_close(decode_photograph(content), corners(), 30)


@pytest.mark.parametrize("shape, expected", [((1, 1), (1, 1)), ((10, 20_000), (1, 1024))])
def test_odd_sizes(shape, expected):
    found = decode_photograph(encoded(np.full((*shape, 3), 9, np.uint8), "PNG"))
    assert found.shape == (*expected, 3) and (found == 9).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_photographs_are_made_smaller(kind):
    content = encoded(corners(1600, 2400), kind, **({"exif": exif(6)} if kind == "JPEG" else {}))
    found = decode_photograph(content, 300)
    assert found.shape == ((300, 200, 3) if kind == "JPEG" else (200, 300, 3))


def test_200_million_pixels_are_no_bomb():
    content = encoded(Image.new("L", (16_320, 12_240), 77), "JPEG")
    found = decode_photograph(content)
    assert found.shape == (768, 1024, 3) and (found == 77).all()


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("PNG", (60_000, 60_000), "3,600,000,000 pixels, expected 1 to 52,428,800"),
        ("PNG", (8000, 7000), "56,000,000 pixels, expected 1 to 52,428,800"),
        # It has no rows to leave out, so all of it would be decoded.
        ("JPEG", (60_000, 1000), "60,000,000 pixels, expected 1 to 52,428,800"),
        ("JPEG", (20_000, 11_000), "220,000,000 pixels, expected 1 to 209,715,200"),
    ],
)
def test_a_bomb_is_refused_before_it_is_decoded(kind, size, message):
    content = png(*size, 8, b"") if kind == "PNG" else encoded(Image.new("L", size), kind)
    with pytest.raises(ImageError, match=message):
        decode_photograph(content)


def test_a_script_may_raise_the_limit(monkeypatch):
    content = encoded(corners(), "PNG")
    monkeypatch.setattr(photographs, "MOST_PIXELS", 60 * 40 - 1)
    with pytest.raises(ImageError, match="2,400 pixels, expected 1 to 2,399"):
        decode_photograph(content)
    monkeypatch.setattr(photographs, "MOST_PIXELS", 60 * 40)
    assert decode_photograph(content).shape == (40, 60, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_truncated_files_are_refused(kind, share):
    rng = np.random.default_rng(0)
    content = encoded(rng.integers(0, 256, (40, 60, 3), np.uint8), kind)
    with pytest.raises(ImageError, match="cannot be decoded|no photograph"):
        decode_photograph(content[: int(share * len(content))])


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "empty"),
        (b"a photograph of a dog", r"begins with b'a photog'"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no photograph that can be read"),
        (b"\x89PNG\r\n\x1a\n", "."),
        (b"<html>not found</html>", "no photograph that can be read"),
    ],
)
def test_what_is_no_photograph(content, reason):
    with pytest.raises(ImageError, match=reason):
        decode_photograph(content)


def test_damaged_metadata_does_not_matter():
    content = encoded(corners(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    check_close(decode_photograph(content), corners(), 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_mutants_decode_or_are_refused(kind):
    good = bytearray(encoded(corners(), kind, **({"exif": exif(6)} if kind == "JPEG" else {})))
    rng = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(150):
            mutant = good.copy()
            for place in rng.integers(0, len(mutant), rng.integers(1, 6)):
                mutant[place] = rng.integers(0, 256)
            if rng.random() < 0.2:
                del mutant[rng.integers(1, len(mutant)) :]
            try:
                found = decode_photograph(bytes(mutant))
            except ImageError as error:
                assert str(error)
            else:
                assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3
                assert 0 < min(found.shape[:2]) and max(found.shape[:2]) <= 1024


PLAIN = "from PIL import Image; Image.open(io.BytesIO(content)).getexif()"
OURS = """
from hslm_tf.images import photographs
from hslm_tf.images.photographs import ImageError, decode_photograph
with contextlib.suppress(ImageError):
    decode_photograph(content)
"""


def printed(code: str, content: bytes) -> bytes:
    code = f"import contextlib, io, sys; content = sys.stdin.buffer.read()\n{code}"
    command = [sys.executable, "-W", "always", "-c", code]
    return subprocess.run(command, input=content, capture_output=True).stderr


@pytest.mark.parametrize("what", [b"Corrupt EXIF data", b"More samples per pixel"])
def test_nothing_is_printed(what):
    content = encoded(corners(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")
    if b"samples" in what:
        three, sixty = (struct.pack("<HHIH", 277, 3, 1, number) for number in (3, 60))
        content = encoded(corners(), "TIFF").replace(three, sixty)
    assert what in printed(PLAIN, content)
    assert printed(OURS, content) == b""


def test_warnings_of_others_are_not_shown_again():
    content = encoded(corners(), "PNG")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(3):
            decode_photograph(content)
            warnings.warn("mine", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["mine"]


def test_photographs_in_many_threads():
    contents = [encoded(np.full((30, 30, 3), level, np.uint8), "PNG") for level in range(100)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(decode_photograph, contents))
    assert [int(picture.max()) for picture in found] == list(range(100))
