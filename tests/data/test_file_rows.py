import os

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert
from hslm_tf.data.hdf5_rows import HDF5Rows
from hslm_tf.data.hdf5_rows import open_rows as open_hdf5_rows
from hslm_tf.data.npy import FileRows, open_rows
from tests.data.split_files import IMAGES, REGIONS, WIDTH, write_split

ROWS = np.array([3, 0, 3, 8])


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2"])
def test_rows_of_an_npy_file(dtype, tmp_path):
    array = np.random.default_rng(0).normal(size=(9, 5, 7)).astype(dtype)
    np.save(tmp_path / "rows.npy", array)
    rows = open_rows(tmp_path / "rows.npy")
    assert isinstance(rows, FileRows)
    assert (rows.shape, rows.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(rows[ROWS], array[ROWS])
    assert rows[np.array([], int)].shape == (0, 5, 7)


def test_columns_first_are_mapped(tmp_path, caplog):
    array = np.asfortranarray(np.random.default_rng(0).normal(size=(9, 5, 7)))
    np.save(tmp_path / "rows.npy", array)
    np.testing.assert_array_equal(open_rows(tmp_path / "rows.npy")[ROWS], array[ROWS])
    assert "rows.npy is in Fortran's order, in which a row is spread over the wh" in caplog.text
    caplog.clear()
    np.save(tmp_path / "rows.npy", array.copy(order="C"))
    open_rows(tmp_path / "rows.npy")
    assert not caplog.text


def test_a_file_that_becomes_shorter_is_an_error(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.zeros((9, 5, 7), np.float32))
    rows = open_rows(path)
    os.truncate(path, path.stat().st_size - 1)
    np.testing.assert_array_equal(rows[np.array([7])], 0)
    with pytest.raises(DataError, match="rows.npy ends within row 8"):
        rows[ROWS]


@pytest.mark.parametrize(
    "options, user_block, kind",
    [({}, 0, FileRows), ({}, 512, HDF5Rows), ({"chunks": (2, 5, 7)}, 0, HDF5Rows)],
)
def test_rows_of_an_hdf5_file(options, user_block, kind, tmp_path):
    array = np.random.default_rng(0).normal(size=(9, 5, 7)).astype(np.float32)
    with h5py.File(tmp_path / "rows.h5", "w", userblock_size=user_block) as file:
        file.create_dataset("other", data=np.ones(3))
        file.create_dataset("train/ims", data=array, **options)
    rows = open_hdf5_rows(tmp_path / "rows.h5", "train/ims")
    assert type(rows) is kind
    np.testing.assert_array_equal(rows[ROWS], array[ROWS])


@pytest.mark.parametrize("target", ["data", "a.h5"])
@pytest.mark.parametrize("part", ["ims", "boxes"])
def test_the_array_that_holds_nan_is_named(part, target, tmp_path):
    values = np.ones((IMAGES, REGIONS, 4 if part == "boxes" else WIDTH), np.float32)
    source = write_split(tmp_path / "source", full=False, **{part: values})
    convert(source, tmp_path / target, progress=False)
    file = tmp_path / target if target == "a.h5" else tmp_path / target / f"train_{part}.npy"
    # The first of the ones becomes NaN.
    content, one = file.read_bytes(), np.float32(1).tobytes()
    place = content.index(values.tobytes())
    assert content[place : place + 4] == one
    file.write_bytes(content[:place] + np.float32("nan").tobytes() + content[place + 4 :])
    dataset = load_dataset(tmp_path / target, "train")
    read = dataset.read_boxes if part == "boxes" else dataset.read_images
    with pytest.raises(DataError, match=rf"(a.h5:/train/|train_){part}.*, row 0: .* hold nan"):
        read(np.arange(IMAGES))
