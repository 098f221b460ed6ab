import numpy as np
import pytest

from hslm_tf.convert import main
from hslm_tf.data import load_dataset
from hslm_tf.data.first_regions import first_regions
from hslm_tf.data.options import ReadOptions
from tests.data import field_files as field


def test_the_first_regions_are_kept(tmp_path):
    field.write_npz(tmp_path / "features")
    whole = load_dataset(field.write_karpathy(tmp_path), "train")
    assert first_regions(whole, None) is whole and first_regions(whole, 17) is whole
    rows = np.array([1, 0])
    for most, counts in ((14, [14, 12]), (11, [11, 11])):
        kept = first_regions(whole, most)
        regions, mask = kept.read_images(rows)
        np.testing.assert_array_equal(regions, whole.read_images(rows)[0][:, :most])
        np.testing.assert_array_equal(kept.read_boxes(rows), whole.read_boxes(rows)[:, :most])
        assert mask.sum(axis=1).tolist() == counts and kept.max_regions == most
    assert kept.num_regions is None
    with pytest.raises(ValueError, match="max_regions must be at least 1. Received: max_reg"):
        ReadOptions(max_regions=0)


def test_convert_keeps_them(tmp_path):
    field.write_npz(tmp_path / "features")
    path = field.write_karpathy(tmp_path)
    main([str(path), str(tmp_path / "out"), "--max-regions", "11"])
    assert np.load(tmp_path / "out" / "train_ims.npy").shape == (2, 11, field.WIDTH)
    assert np.load(tmp_path / "out" / "train_boxes.npy").shape == (2, 11, 4)
    assert not (tmp_path / "out" / "train_num_regions.npy").exists()
