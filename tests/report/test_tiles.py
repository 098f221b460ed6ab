import numpy as np
import tensorflow as tf

from hslm_tf.report.tiles import mosaic, photo_tile


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
