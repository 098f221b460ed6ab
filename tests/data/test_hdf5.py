import os
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert
from tests.data.split_files import IMAGES, write_split


@pytest.fixture
def path(tmp_path):
    convert(write_split(tmp_path / "folder"), tmp_path / "data.h5", progress=False)
    return tmp_path / "data.h5"


def replace_part(path, part, value):
    with h5py.File(path, "a") as file:
        if part in file["train"]:
            del file["train"][part]
        if value is not None:
            file["train"][part] = value


def test_reads_what_the_precomputed_format_holds(path):
    ours, theirs = load_dataset(path, "train"), load_dataset(path.parent / "folder", "train")
    assert (ours.captions, ours.image_ids) == (theirs.captions, theirs.image_ids)
    for images in (np.array([4, 0, 4, 2]), np.arange(IMAGES), np.array([3, 2])):
        for one, other in zip(ours.read_images(images), theirs.read_images(images), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(ours.read_boxes(images), theirs.read_boxes(images))


def test_many_threads_and_a_forked_child(path):
    dataset = load_dataset(path, "train")
    expected = dataset.read_images(np.arange(IMAGES))[0]
    with ThreadPoolExecutor(8) as pool:
        for image, (regions, _) in enumerate(
            pool.map(dataset.read_images, [np.array([i % IMAGES]) for i in range(200)])
        ):
            np.testing.assert_array_equal(regions[0], expected[image % IMAGES])
    child = os.fork()
    if child == 0:
        same = np.array_equal(dataset.read_images(np.arange(IMAGES))[0], expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


BROKEN = {
    "no features": ("ims", None, "data.h5 holds no split: it is a file ending in .h5"),
    "no captions": ("caps", None, r"data.h5:/train lacks caps"),
    "float64": ("ims", np.zeros((6, 4, 3)), r"data.h5:/train/ims is float64"),
    "captions that are numbers": ("caps", np.zeros(30), "train/caps is float64 .*strings"),
    "wrong UTF-8": ("caps", [b"fine", b"caf\xe9"], r"/train/caps, row 1: 'utf-8'"),
    "empty caption": ("caps", [b"a"] * 5 + [b""], r"/train/caps, row 5: '' is not one line"),
    "two lines": ("caps", [b"a"] * 5 + [b"b\nc"], r"/train/caps, row 5: 'b\\nc'"),
    "captions do not divide": ("caps", [b"a"] * 7, r"/train/caps has 7 captions .* 6 images"),
    "repeated id": ("ids", list("abcdea"), r"/train/ids, row 5: the id 'a' .*row 0"),
    "too many regions": ("num_regions", [1, 2, 3, 9, 1, 1], r"/train/num_regions, row 3: 9"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_parts(path, case):
    part, value, message = BROKEN[case]
    replace_part(path, part, value)
    with pytest.raises(DataError, match=message):
        load_dataset(path, "train")


def test_unreadable_files(path):
    with pytest.raises(DataError, match="of the split 'dev'; it holds train"):
        load_dataset(path, "dev")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="data.h5 cannot be read as HDF5: .*truncated"):
        load_dataset(path, "train")
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="data.h5 cannot be read as HDF5"):
        load_dataset(path, "train")
    with pytest.raises(DataError, match="there is no such file"):
        load_dataset(path.with_name("none.h5"), "train")
