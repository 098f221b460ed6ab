import numpy as np
import pytest
from PIL import Image

from hslm_tf.images.jpeg_end import picture_end
from hslm_tf.images.photographs import ImageError, decode_photograph
from tests.images.pictures import encoded

WAYS = {
    "baseline": {},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "fine": {"quality": 95, "subsampling": 0},
    "restarts by row": {"restart_marker_rows": 1},
    "restarts by block": {"restart_marker_blocks": 3},
}


def smooth(mode: str = "RGB") -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (15, 20, 3), np.uint8)
    return Image.fromarray(small).resize((400, 300), Image.Resampling.BICUBIC).convert(mode)


def scan(content: bytes) -> int:
    """Where the data of the first scan begins."""
    start = content.index(b"\xff\xda") + 2
    return start + int.from_bytes(content[start : start + 2])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_picture_that_was_cut_off_and_closed(way, mode):
    content = encoded(smooth(mode), "JPEG", **WAYS[way])
    end = picture_end(content)
    assert end == len(content) - 2
    first = scan(content)
    # Where less is missing it is the last blocks alone, which a decoder of progressive files paints
    # over. Their first scan has all of the picture, coarsely.
    last, share = end, 0.98
    if way == "progressive":
        last, share = content.index(b"\xff\xc4", first), 0.9
    for cut in np.linspace(first, first + share * (last - first), 25).astype(int):
        with pytest.raises(ImageError, match="cut off: the picture ends before its last row"):
            decode_photograph(content[:cut] + b"\xff\xd9")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_zeros_where_the_rest_was_to_come(way, share):
    content = encoded(smooth(), "JPEG", **WAYS[way])
    kept = scan(content) + int(share * (len(content) - scan(content)))
    with pytest.raises(ImageError, match="cut off: the end marker is missing|truncated"):
        decode_photograph(content[:kept] + bytes(len(content) - kept + 4096))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (17, 17), (60, 33), (1300, 700)])
def test_a_photograph_may_be_grey(way, mode, size):
    grey = Image.new("L", size, 127 if mode == "CMYK" else 128)
    image = Image.merge(mode, [grey] * len(mode))
    found = decode_photograph(encoded(image, "JPEG", **WAYS[way]), 2000)
    assert found.shape == (size[1], size[0], 3) and len(np.unique(found)) == 1


def test_a_preview_and_what_comes_after_do_not_matter():
    preview = encoded(smooth().resize((40, 30)), "JPEG")
    content = encoded(smooth(), "JPEG", comment=preview)
    assert picture_end(content) == len(content) - 2
    assert picture_end(content + b"a video" + preview) == len(content) - 2
    whole = decode_photograph(content)
    np.testing.assert_array_equal(decode_photograph(content + b"a video"), whole)
    assert picture_end(content[:-2]) is None
