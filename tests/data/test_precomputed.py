import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert
from tests.data.split_files import (
    IMAGES,
    REGIONS,
    WIDTH,
    captions_of,
    write_split,
)


def test_parts_of_a_split(tmp_path):
    dataset = load_dataset(write_split(tmp_path), "train")
    assert (dataset.num_images, dataset.num_captions) == (IMAGES, 5 * IMAGES)
    assert (dataset.max_regions, dataset.region_dim) == (REGIONS, WIDTH)
    assert dataset.captions == captions_of()
    np.testing.assert_array_equal(dataset.caption_to_image, np.repeat(np.arange(IMAGES), 5))
    assert dataset.image_ids[3] == "photo_3.jpg"
    images = np.array([5, 1, 5])
    regions, mask = dataset.read_images(images)
    stored = np.load(tmp_path / "train_ims.npy")
    assert regions.dtype == np.float32
    np.testing.assert_array_equal(mask.sum(axis=1), [2, 1, 2])
    np.testing.assert_array_equal(regions, np.where(mask[..., None], stored[images], 0))
    boxes = np.load(tmp_path / "train_boxes.npy")
    np.testing.assert_array_equal(
        dataset.read_boxes(images), np.where(mask[..., None], boxes[images], 0)
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f4"])
@pytest.mark.parametrize("per_image", [1, 2, 5])
def test_captions_per_image_and_types(tmp_path, per_image, dtype):
    regions = np.random.default_rng(1).normal(size=(5, 2, 3)).astype(dtype)
    write_split(tmp_path, full=False, ims=regions, caps=captions_of(5, per_image))
    dataset = load_dataset(tmp_path, "train")
    assert dataset.num_captions == 5 * per_image
    np.testing.assert_array_equal(dataset.read_images(np.arange(5))[0], regions.astype("f4"))
    assert dataset.read_images(np.arange(5))[1].all()
    assert dataset.read_boxes(np.arange(5)) is None


def test_line_separators_of_unicode_stay_in_the_caption(tmp_path):
    captions = captions_of()
    captions[2] = "one\u2028line\x85still\x0cone"
    write_split(tmp_path, caps=captions)
    assert load_dataset(tmp_path, "train").captions[2] == captions[2]


BROKEN = {
    "captions do not divide": (
        {"caps": captions_of()[:-1]},
        r"train_caps.txt has 29 captions and .*train_ims.npy 6 images",
    ),
    "fewer captions than images": ({"caps": ["a", "b"]}, "2 captions and .* 6 images"),
    "empty caption": ({"caps": ["a", "b", " ", "d", "e", "f"]}, r"train_caps.txt, line 3: .*empty"),
    "float64": ({"ims": np.zeros((6, 4, 3))}, "train_ims.npy is float64, expected float32"),
    "integers": ({"ims": np.zeros((6, 4, 3), int)}, "train_ims.npy is int64"),
    "rank": ({"ims": np.zeros((6, 3), "f4")}, r"shape \(6, 3\), expected three axes"),
    "no image": ({"ims": np.zeros((0, 4, 3), "f4")}, r"shape \(0, 4, 3\): it is empty"),
    "boxes of other images": (
        {"boxes": np.zeros((5, 4, 4), "f4")},
        r"train_boxes.npy is float32 of shape \(5, 4, 4\).*\(6, 4, 4\)",
    ),
    "integer boxes": ({"boxes": np.zeros((6, 4, 4), int)}, "train_boxes.npy is int64"),
    "no region": (
        {"num_regions": np.array([4, 0, 1, 1, 1, 1])},
        r"train_num_regions.npy, row 1: 0 regions, expected 1 to 4",
    ),
    "too many regions": (
        {"num_regions": np.array([4, 4, 4, 4, 4, 5])},
        r"train_num_regions.npy, row 5: 5 regions",
    ),
    "counts of other images": ({"num_regions": np.ones(5, int)}, r"shape \(5,\), expected"),
    "fractional counts": ({"num_regions": np.ones(6)}, "float64 .*expected integers"),
    "too few ids": ({"ids": list("abcde")}, "train_ids.txt has 5 ids, expected 6 or 30"),
    "ids that change within an image": (
        {"ids": ["a"] * 4 + ["b"] * 26},
        r"train_ids.txt, line 5: 'b' differs from 'a', .* line 1",
    ),
    "captions of an image that stand apart": (
        {"ids": [f"p{caption % 6}" for caption in range(30)]},
        r"train_ids.txt, line 7: 'p0' stands already in .*train_ids.txt, line 1 and others betw",
    ),
    "repeated id": ({"ids": list("abcdbf")}, r"train_ids.txt, line 5: the id 'b' .*line 2"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_parts(tmp_path, case):
    parts, message = BROKEN[case]
    with pytest.raises(DataError, match=message):
        load_dataset(write_split(tmp_path, **parts), "train")


@pytest.mark.parametrize("part", ["ims.npy", "caps.txt", "ids.txt", "num_regions.npy"])
def test_links_that_lead_to_nothing(tmp_path, part):
    path = write_split(tmp_path) / f"train_{part}"
    path.unlink()
    path.symlink_to("moved/away")
    with pytest.raises(DataError, match=f"{part} is a link that leads to nothing, to moved/away"):
        load_dataset(tmp_path, "train")
    (tmp_path / "data.h5").symlink_to("moved")
    with pytest.raises(DataError, match="data.h5 holds no split: it is a link to nothing"):
        load_dataset(tmp_path / "data.h5", "train")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.tsv").symlink_to("moved")
    with pytest.raises(DataError, match=r"it holds a.tsv \(a link to nothing\)"):
        load_dataset(tmp_path / "folder", "train")


def test_empty_caption_file(tmp_path):
    write_split(tmp_path)
    (tmp_path / "train_caps.txt").write_bytes(b"")
    with pytest.raises(DataError, match="train_caps.txt has no captions"):
        load_dataset(tmp_path, "train")


@pytest.mark.parametrize("length", [0x48, 0x66])
def test_a_header_whose_length_is_damaged(tmp_path, length):
    """It would be read with every number shifted, silently."""
    path = write_split(tmp_path) / "train_ims.npy"
    content = bytearray(path.read_bytes())
    assert content[8] == 0x76
    content[8] = length
    path.write_bytes(content)
    with pytest.raises(DataError, match="train_ims.npy (has a damaged header|is not a .npy)"):
        load_dataset(tmp_path, "train")


def test_missing_files_and_what_is_there(tmp_path):
    write_split(tmp_path, "dev", full=False)
    with pytest.raises(DataError, match="of the split 'train'; it holds dev"):
        load_dataset(tmp_path, "train")
    with pytest.raises(DataError, match="there is no such file or folder"):
        load_dataset(tmp_path / "none", "train")


@pytest.mark.parametrize("layout", ["auto", "per_caption"])
@pytest.mark.parametrize("target", ["", "a.h5"])
def test_images_alone_open_where_captions_are_optional(tmp_path, target, layout):
    """In every format: what is converted here has captions, and then loses them."""
    folder = write_split(tmp_path / "data")
    source, expected = folder, load_dataset(folder, "train")
    if target:
        source = tmp_path / target
        convert(folder, source)
        with h5py.File(source, "a") as file:
            del file["train/caps"]
    else:
        (source / "train_caps.txt").unlink()
    with pytest.raises(DataError, match="lacks (train_)?caps"):
        load_dataset(source, "train")
    alone = load_dataset(source, "train", layout, captions_optional=True)
    assert alone.captions == [] and len(alone.caption_to_image) == 0
    assert alone.image_ids == expected.image_ids
    images = np.arange(alone.num_images)
    for found, wanted in zip(alone.read_images(images), expected.read_images(images), strict=True):
        np.testing.assert_array_equal(found, wanted)
