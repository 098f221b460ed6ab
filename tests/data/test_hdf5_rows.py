"""HDF5 files that say what is not so, and what a reader must not believe."""

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.hdf5 import hdf5_splits
from tests.data.split_files import captions_of

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
