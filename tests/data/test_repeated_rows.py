"""Rows that stand once per caption, for any number of captions per image."""

import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert
from hslm_tf.data.repeated_rows import rows_per_image
from tests.data.split_files import captions_of, write_split

IMAGES = 40


def images(count=IMAGES):
    return np.random.default_rng(2).normal(size=(count, 2, 3)).astype(np.float32)


def write(folder, rows, **parts):
    """A split of one caption a row."""
    parts = {"ims": rows, "caps": captions_of(len(rows), 1)} | parts
    return write_split(folder, full=False, **parts)


def opened(folder, rows, layout="auto", **parts):
    return load_dataset(write(folder, rows, **parts), "train", layout)


def letters(text):
    """One row for each letter, the same for the same letter."""
    return images(26)[[ord(letter) - ord("a") for letter in text]]


@pytest.mark.parametrize("layout", ["auto", "per_caption"])
@pytest.mark.parametrize("source", ["folder", "data.h5"])
@pytest.mark.parametrize("repeats", [2, 3, 5, 7, 10])
def test_any_whole_repeat(tmp_path, repeats, source, layout):
    write(tmp_path / "folder", np.repeat(images(), repeats, axis=0))
    if source == "data.h5":
        convert(tmp_path / "folder", tmp_path / source, layout="per_image", progress=False)
    dataset = load_dataset(tmp_path / source, "train", layout)
    assert (dataset.num_images, dataset.num_captions) == (IMAGES, IMAGES * repeats)
    np.testing.assert_array_equal(dataset.read_images(np.arange(IMAGES))[0], images())
    np.testing.assert_array_equal(dataset.caption_to_image, np.repeat(np.arange(IMAGES), repeats))
    part = dataset.subset(3, 5)
    np.testing.assert_array_equal(part.read_images(np.array([1]))[0], images()[[4]])


@pytest.mark.parametrize("ids_per_image", [1, 3])
def test_ids_and_counts_follow_the_rows(tmp_path, ids_per_image):
    ids = [f"p{image}" for image in range(IMAGES)]
    dataset = opened(
        tmp_path,
        np.repeat(images(), 3, axis=0),
        ids=list(np.repeat(ids, ids_per_image)),
        num_regions=np.repeat(1 + np.arange(IMAGES) % 2, 3),
        boxes=np.zeros((3 * IMAGES, 2, 4), np.float32),
    )
    assert dataset.image_ids == ids
    np.testing.assert_array_equal(dataset.num_regions, 1 + np.arange(IMAGES) % 2)
    assert dataset.read_boxes(np.array([IMAGES - 1])).shape == (1, 2, 4)


def test_one_caption_an_image(tmp_path):
    assert opened(tmp_path, images()).num_images == IMAGES
    assert opened(tmp_path, images(1)).num_images == 1
    assert opened(tmp_path, images(1), "per_caption").num_images == 1


def test_rows_are_as_the_layout_says(tmp_path):
    assert opened(tmp_path, np.repeat(images(), 2, axis=0), "per_image").num_images == 2 * IMAGES
    with pytest.raises(DataError, match=r"train_ims.npy: most rows differ .* as row 0 does"):
        opened(tmp_path, images(), "per_caption")
    write_split(tmp_path, caps=captions_of()[:-1])
    with pytest.raises(DataError, match="6 rows and .*train_caps.txt 29 captions"):
        load_dataset(tmp_path, "train", "per_caption")
    with pytest.raises(ValueError, match="Received: layout='rows'"):
        load_dataset(tmp_path, "train", "rows")


@pytest.mark.parametrize("ids_per_image", [0, 1, 10])
def test_two_captions_a_row(tmp_path, ids_per_image):
    ids = [f"p{image}" for image in range(8) for _ in range(ids_per_image)]
    parts = {"caps": captions_of(40, 2), **({"ids": ids} if ids else {})}
    write(tmp_path, np.repeat(images(8), 5, axis=0), **parts)
    if not ids:
        assert load_dataset(tmp_path, "train").num_images == 40
    dataset = load_dataset(tmp_path, "train", "per_caption")
    np.testing.assert_array_equal(dataset.read_images(np.arange(8))[0], images(8))
    np.testing.assert_array_equal(dataset.caption_to_image, np.repeat(np.arange(8), 10))
    assert dataset.image_ids == (ids[::ids_per_image] if ids else None)


@pytest.mark.parametrize("ids_per_image", [1, 4])
def test_ids_decide_where_rows_are_unclear(tmp_path, ids_per_image):
    ids = list(np.repeat(["x", "y", "z"], ids_per_image))
    assert opened(tmp_path, images(12), "per_caption", ids=ids).image_ids == ["x", "y", "z"]
    # Neighbours are the same photograph everywhere: two rows an image, not four.
    rows = letters("aaaabbbb")
    assert opened(tmp_path / "twins", rows).num_images == 2
    assert opened(tmp_path / "twins", rows, ids=list("uvwx")).image_ids == list("uvwx")
    # All rows are identical.
    assert opened(tmp_path / "same", letters("a" * 6), ids=list("uuvvww")).num_images == 3
    assert opened(tmp_path / "same", letters("a" * 6), ids=list("uvwxyz")).num_images == 6


@pytest.mark.parametrize("layout", ["auto", "per_caption"])
def test_all_rows_identical_is_an_error(tmp_path, layout):
    with pytest.raises(DataError, match="train_ims.npy: all 30 rows are identical, so it is uncl"):
        opened(tmp_path, letters("a" * 30), layout)
    assert load_dataset(tmp_path, "train", "per_image").num_images == 30


@pytest.mark.parametrize("twin", [0, 17, IMAGES - 2])
def test_neighbours_may_be_the_same_photograph(tmp_path, twin):
    photographs = images()
    photographs[twin + 1] = photographs[twin]
    assert opened(tmp_path / "single", photographs).num_images == IMAGES
    for repeats in (2, 3, 5):
        rows = np.repeat(photographs, repeats, axis=0)
        assert opened(tmp_path / str(repeats), rows).num_images == IMAGES


def test_every_row_not_a_number_is_like_itself(tmp_path):
    photographs = images()
    photographs[0, 1] = np.nan
    assert opened(tmp_path, np.repeat(photographs, 3, axis=0)).num_images == IMAGES


IN_DOUBT = {
    "the first row is another": ("ab" + "b" * 4 + "".join(c * 6 for c in "cdef"), "row 0"),
    "the last row is another": ("".join(c * 6 for c in "abcde")[:-1] + "z", "rows 24 to 28"),
    "a row is missing": ("aaabbbcccdddeefffggghhhh", "rows 12 to 13"),
    "as many rows as captions": ("abbcccdeeffgg", "row 0"),
    "few rows": ("aabc", "rows 0 to 1"),
}


@pytest.mark.parametrize("case", IN_DOUBT)
def test_some_rows_repeated_and_others_not(tmp_path, case):
    text, named = IN_DOUBT[case]
    message = rf"train_ims.npy: runs of identical rows, .*{named}\b.* of {len(text)}, do not"
    with pytest.raises(DataError, match=message):
        opened(tmp_path, letters(text))
    assert load_dataset(tmp_path, "train", "per_image").num_images == len(text)


def test_in_doubt_the_layout_decides(tmp_path):
    rows = np.repeat(images(20), 5, axis=0)
    rows[1] += 1
    with pytest.raises(DataError, match="such as rows 10 to 14 and row 0 of 100"):
        opened(tmp_path, rows)
    assert load_dataset(tmp_path, "train", "per_caption").num_images == 20
    assert load_dataset(tmp_path, "train", "per_image").num_images == 100


class Numbered:
    """Rows of a file that is never there: an image for every `repeats` rows."""

    dtype = np.dtype(np.float32)

    def __init__(self, rows, repeats):
        self.shape, self.repeats, self.read = (rows, 36, 2048), repeats, 0

    def __getitem__(self, rows):
        self.read += len(rows)
        return (rows // self.repeats)[:, None, None]


@pytest.mark.parametrize("repeats", [1, 2, 3, 5, 7, 145_000])
def test_few_rows_are_read(repeats):
    regions = Numbered(145_000 // repeats * repeats, repeats)
    if repeats == 145_000:
        with pytest.raises(DataError, match="all 145000 rows"):
            rows_per_image(regions, None, "file")
    else:
        assert rows_per_image(regions, None, "file") == repeats
    assert regions.read < 250
