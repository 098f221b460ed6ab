import numpy as np
import pytest
from PIL import Image

from hslm_tf.report.pictures import NO_PICTURE, find_image, picture_of, read_image
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
    assert picture_of(folder, image_id) == NO_PICTURE


def test_photographs_are_upright(folder):
    tags = Image.Exif()
    tags[0x0112] = 6
    stored = Image.fromarray(np.rot90(corners(), 1))
    stored.save(folder / "turned.jpg", exif=tags, quality=95)
    found = read_image(folder / "turned.jpg")
    assert found.shape == (40, 60, 3)
    np.testing.assert_allclose(found[5, 5], corners()[5, 5], atol=25)
    picture = picture_of(folder, "turned")
    assert (picture.width, picture.height) == (60, 40)
    assert picture.data.startswith("data:image/jpeg;base64,")


def test_the_size_is_that_of_the_whole_photograph(folder):
    """Boxes may be in pixels of it, however small the picture is."""
    write(folder / "large.png", size=(1500, 2200))
    picture = picture_of(folder, "large")
    assert (picture.width, picture.height) == (2200, 1500)


def test_a_file_that_is_no_photograph(folder):
    (folder / "bad.jpg").write_bytes(b"no photograph")
    assert read_image(folder / "bad.jpg") is None and read_image(None) is None
    assert picture_of(folder, "bad.jpg") == NO_PICTURE
