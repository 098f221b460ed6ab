import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hslm_tf.report.pictures import (
    NO_PICTURE,
    find_image,
    mosaic,
    photo_tile,
    picture_of,
    read_image,
)
from tests.images.pictures import corners, write


@pytest.fixture
def folder(tmp_path):
    for name in ("images/1.jpg", "images/trip/2.png", "outside.jpg"):
        write(tmp_path / name)
    return tmp_path / "images"


def test_ids_with_and_without_ending_and_in_folders_below(folder):
    assert find_image(folder, "1") == find_image(folder, "1.jpg") == folder / "1.jpg"
    assert find_image(folder, "trip/2.png") == find_image(folder, "trip/2") == folder / "trip/2.png"
    assert find_image(None, "1") is None and find_image(folder, "3") is None


def test_nothing_outside_of_the_folder_is_shown(folder, tmp_path):
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (folder / "inside.jpg").symlink_to(folder / "1.jpg")
    for image_id in (
        "../outside.jpg",
        str(tmp_path / "outside.jpg"),
        "link.jpg",
        "trip/../../outside",
    ):
        assert find_image(folder, image_id) is None, image_id
    assert find_image(folder, "inside.jpg") == folder / "1.jpg"


@pytest.mark.parametrize("image_id", ["", "x" * 300, "x" * 5000, "a\0b", "\ud800", ".", "trip"])
def test_ids_that_no_file_has(folder, image_id):
    assert find_image(folder, image_id) is None
    assert picture_of(find_image(folder, image_id)) == NO_PICTURE


def test_photographs_are_upright(folder):
    tags = Image.Exif()
    tags[0x0112] = 6
    stored = Image.fromarray(np.rot90(corners(), 1))
    stored.save(folder / "turned.jpg", exif=tags, quality=95)
    found = read_image(folder / "turned.jpg", 320).pixels
    assert found.shape == (40, 60, 3)
    np.testing.assert_allclose(found[5, 5], corners()[5, 5], atol=25)
    picture = picture_of(folder / "turned.jpg")
    assert (picture.width, picture.height) == (60, 40)
    assert picture.data.startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("name", ["large.png", "large.jpg"])
def test_the_size_is_that_of_the_whole_photograph(name, folder, monkeypatch):
    """Boxes may be in pixels of it, however small the picture is."""
    write(folder / name, size=(1500, 2200))
    # It is made smaller as bytes: as fractions, a photograph takes four times the memory.
    monkeypatch.setattr(tf.image, "resize", None)
    picture = picture_of(folder / name)
    assert (picture.width, picture.height) == (2200, 1500)
    assert read_image(folder / name, 320).pixels.shape == (218, 320, 3)


def test_a_file_that_is_no_photograph(folder):
    (folder / "bad.jpg").write_bytes(b"no photograph")
    assert read_image(folder / "bad.jpg", 320) is None and read_image(None, 320) is None
    assert picture_of(folder / "bad.jpg") == NO_PICTURE


def test_a_photograph_is_fitted_into_the_square(tmp_path):
    red = np.zeros((20, 40, 3), np.uint8)
    red[..., 0] = 250
    tf.io.write_file(str(tmp_path / "a.png"), tf.io.encode_png(red))
    tile = photo_tile(tmp_path, "a", 40)
    assert tile.shape == (40, 40, 3) and tile.dtype == np.uint8
    np.testing.assert_array_equal(tile[12:28], np.broadcast_to([250, 0, 0], (16, 40, 3)))
    assert not tile[:8].any() and not tile[-8:].any()
    framed = photo_tile(tmp_path, "a", 40, "#0072b2")
    np.testing.assert_array_equal(framed[2:-2, 2:-2], tile[2:-2, 2:-2])
    for edge in (framed[:2], framed[-2:], framed[:, :2], framed[:, -2:]):
        assert (edge == [0x00, 0x72, 0xB2]).all()


def test_where_there_is_no_photograph_the_tile_is_grey(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    for folder, image in ((tmp_path, "missing"), (None, "a"), (tmp_path, "broken")):
        assert (photo_tile(folder, image, 8) == 200).all()


def test_mosaic_is_read_from_left_to_right():
    tiles = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    picture = mosaic(tiles, rows=2, columns=3)
    assert picture.shape == (4, 6, 3)
    np.testing.assert_array_equal(picture[::2, ::2, 0], [[0, 1, 2], [3, 4, 255]])
    np.testing.assert_array_equal(picture[1::2, 1::2, 2], [[0, 1, 2], [3, 4, 255]])
