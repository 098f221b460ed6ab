import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from tests.data import field_files as field
from tests.data.field_files import STEMS, assert_holds


def test_several_kinds_are_one_store(tmp_path):
    field.write_lxmert(tmp_path / "some.tsv", images=[0, 3])
    field.write_root_hdf5(tmp_path / "others.hdf5", "ranges", ids=STEMS, images=[2, 1])
    dataset = load_dataset(field.write_karpathy(tmp_path), "train")
    assert_holds(dataset, field.OURS["train"])
    rows = np.array([1, 0, 1])
    np.testing.assert_array_equal(dataset.read_images(rows)[0][0, :17], field.FEATURES[2])


def test_an_image_in_two_files(tmp_path):
    field.write_lxmert(tmp_path / "a.tsv", images=[0, 1])
    field.write_lxmert(tmp_path / "b.tsv", images=[1, 2])
    with pytest.raises(DataError, match=f"b.tsv and .*a.tsv both hold the image '{STEMS[1]}'"):
        load_dataset(field.write_karpathy(tmp_path), "train")


def test_files_that_do_not_fit(tmp_path):
    field.write_lxmert(tmp_path / "a.tsv", images=[0])
    path = field.write_karpathy(tmp_path)
    (tmp_path / "b").mkdir()
    values = {"x": np.ones((3, 7), np.float32), "bbox": np.ones((3, 4), np.float32)}
    np.savez(tmp_path / "b" / f"{STEMS[2]}.npz", **values)
    message = "a.tsv has 120 numbers a region with boxes, but .*b 7 numbers a region with boxes"
    with pytest.raises(DataError, match=message):
        load_dataset(path, "train")
    np.savez(tmp_path / "b" / f"{STEMS[2]}.npz", x=field.FEATURES[2])
    with pytest.raises(DataError, match="with boxes, but .*b 120 numbers a region without boxes"):
        load_dataset(path, "train")
