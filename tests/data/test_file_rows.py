import os

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError
from hslm_tf.data.file_rows import FileRows
from hslm_tf.data.hdf5_rows import HDF5Rows
from hslm_tf.data.hdf5_rows import open_rows as open_hdf5_rows
from hslm_tf.data.npy import open_rows

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


def test_columns_first_are_mapped(tmp_path):
    array = np.asfortranarray(np.random.default_rng(0).normal(size=(9, 5, 7)))
    np.save(tmp_path / "rows.npy", array)
    np.testing.assert_array_equal(open_rows(tmp_path / "rows.npy")[ROWS], array[ROWS])


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
