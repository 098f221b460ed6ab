import os
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert
from hslm_tf.data.hdf5 import hdf5_splits
from tests.data.split_files import IMAGES, captions_of, write_split


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


def test_values_that_are_no_ieee_numbers_or_were_never_written(path):
    bfloat16 = h5py.h5t.IEEE_F32LE.copy()
    bfloat16.set_fields(15, 7, 8, 0, 7)
    bfloat16.set_size(2)
    bfloat16.set_precision(16)
    bfloat16.set_ebias(127)
    shape, train = (IMAGES, 4, 3), b"ims"

    def load(message):
        with pytest.raises(DataError, match=f"data.h5:/train/ims {message}"):
            load_dataset(path, "train")

    replace_part(path, "ims", None)
    with h5py.File(path, "a") as file:
        space = h5py.h5s.create_simple(shape)
        h5py.h5d.create(file["train"].id, train, bfloat16, space)
    load("has a floating-point type of its own, expected an IEEE type")
    replace_part(path, "ims", None)
    with h5py.File(path, "a") as file:
        file["train"].create_dataset("ims", shape, "f4")
    load("lacks all its values: they were never written")
    replace_part(path, "ims", None)
    with h5py.File(path, "a") as file:
        file["train"].create_dataset("ims", shape, "f4", chunks=(1, 4, 3))[:2] = 1
    load("lacks 4 of its 6 chunks: they were never written")


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


FEATURES = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)


def write(path, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("train/ims", data=FEATURES, **options)
        file["train/caps"] = captions_of()
    return path


def packed_by(path, code):
    """A file whose features say that they are packed by a filter; they are not."""
    with h5py.File(path, "w") as file:
        file["train/caps"] = captions_of()
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk((6, 4, 3))
        created.set_filter(code, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(FEATURES.shape)
        made = h5py.h5d.create(file["train"].id, b"ims", h5py.h5t.IEEE_F32LE, space, created)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, FEATURES)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "lzf"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (2, 2, 2)},
        {"compression": "gzip", "compression_opts": 9, "maxshape": (None, 4, 3)},
    ],
    ids=str,
)
def test_filters_of_the_library_itself_are_read(options, tmp_path):
    dataset = load_dataset(write(tmp_path / "a.h5", **options), "train")
    np.testing.assert_array_equal(dataset.read_images(np.arange(6))[0], FEATURES)


@pytest.mark.parametrize("code", [307, 32001, 32004, 32015, 65535])
def test_filters_that_are_plugins_are_named_and_never_loaded(code, tmp_path):
    path = packed_by(tmp_path / "a.h5", code)
    with pytest.raises(
        DataError, match=rf"a.h5:/train/ims is packed with the filter .*\(number {code}\), a plugin"
    ):
        load_dataset(path, "train")


def test_values_compress_as_far_as_gzip_can(tmp_path):
    """A thousand times is right; more is damage."""
    path = tmp_path / "a.h5"
    zeros = {"compression": "gzip", "compression_opts": 9, "chunks": (1 << 10, 36, 128)}
    with h5py.File(path, "w") as file:
        file["train/caps"] = ["a"] * (1 << 11)
        file.create_dataset("train/ims", data=np.zeros((1 << 11, 36, 128), "f4"), **zeros)
    assert load_dataset(path, "train", "per_image").num_images == 1 << 11
    with h5py.File(path, "a") as file:
        del file["train/ims"]
        file.create_dataset("train/ims", (1 << 11, 36, 1 << 20), "f4", compression="gzip")
    with pytest.raises(DataError, match=r"a.h5:/train/ims has shape \(2048, 36, 1048576\), more"):
        load_dataset(path, "train")


def test_a_chunk_that_no_memory_holds(tmp_path):
    """One row is asked for, but a chunk is unpacked as a whole."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["noise"] = np.zeros(1 << 20, np.uint8)
        file["train/caps"] = ["a"] * 6
        file.create_dataset(
            "train/ims",
            (6, 36, 16),
            "f4",
            chunks=(1 << 17, 36, 16),
            maxshape=(None, 36, 16),
            compression="gzip",
        )
    with pytest.raises(DataError, match=r"a.h5:/train/ims has chunks of shape \(131072, 36, 16\)"):
        load_dataset(path, "train")


def test_groups_of_the_newest_form_are_read(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["train/ims"], file["train/caps"] = FEATURES, captions_of()
    assert load_dataset(path, "train").captions == captions_of()


def test_a_link_to_another_file_is_not_even_opened(tmp_path):
    other = tmp_path / "other.h5"
    write(other)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["train"] = h5py.ExternalLink(str(other), "/train")
        file["dev"] = h5py.SoftLink("/own")
        file["own/ims"], file["own/caps"] = FEATURES, captions_of()
    assert hdf5_splits(path) == ["dev", "own"]
    assert load_dataset(path, "dev").num_images == 6
    with pytest.raises(DataError, match="a.h5 holds no region features of the split 'train'"):
        load_dataset(path, "train")
