import numpy as np
import pytest

from hslm_tf.data import DataError
from tests.data import field_files as field
from tests.data.field_files import STEMS, assert_holds, opened


def test_several_kinds_are_one_store(tmp_path):
    field.write_lxmert(tmp_path / "some.tsv", images=[0, 3])
    field.write_root_hdf5(tmp_path / "others.hdf5", "ranges", ids=STEMS, images=[2, 1])
    dataset = opened(field.write_karpathy(tmp_path), "train")
    assert_holds(dataset, field.OURS["train"])
    rows = np.array([1, 0, 1])
    np.testing.assert_array_equal(dataset.read_images(rows)[0][0, :17], field.FEATURES[2])


def test_an_image_in_two_files(tmp_path):
    field.write_lxmert(tmp_path / "a.tsv", images=[0, 1])
    field.write_lxmert(tmp_path / "b.tsv", images=[1, 2])
    with pytest.raises(
        DataError, match="b.tsv, line 1: the image .* stands already in .*a.tsv, line 2"
    ):
        opened(field.write_karpathy(tmp_path), "train")


def test_files_that_do_not_fit(tmp_path):
    field.write_lxmert(tmp_path / "a.tsv", images=[0])
    path = field.write_karpathy(tmp_path)
    (tmp_path / "b").mkdir()
    values = {"x": np.ones((3, 7), np.float32), "bbox": np.ones((3, 4), np.float32)}
    np.savez(tmp_path / "b" / f"{STEMS[2]}.npz", **values)
    message = "npz has 7 numbers a region with boxes, but .*a.tsv, line 1 120 numbers a region with"
    with pytest.raises(DataError, match=message):
        opened(path, "train")
    np.savez(tmp_path / "b" / f"{STEMS[2]}.npz", x=field.FEATURES[2])
    with pytest.raises(DataError, match="120 numbers a region without boxes, but .*line 1 120 nu"):
        opened(path, "train")
