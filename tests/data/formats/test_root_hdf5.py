import pickle

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError
from tests.data import field_files as field
from tests.data.field_files import COCO_IDS, assert_holds

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(3, 5, 8)).astype(np.float32)


def write(folder, **parts):
    path = folder / "train36.hdf5"
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            file[name] = value
    return path


def opened(path):
    return field.opened(path, "all", images_alone=True)


@pytest.mark.parametrize("form", ["regions first", "features first", "ranges"])
def test_order_of_reading(tmp_path, form):
    dataset = opened(field.write_root_hdf5(tmp_path / "a.hdf5", form))
    assert dataset.image_ids == [str(number) for number in COCO_IDS]
    assert_holds(dataset, range(4))
    rows = np.array([3, 0, 3, 1])
    np.testing.assert_array_equal(
        dataset.read_images(rows)[0], dataset.read_images(np.arange(4))[0][rows]
    )


def test_ids_as_strings_and_in_a_file_beside(tmp_path):
    path = write(tmp_path, image_features=FEATURES, image_ids=["b.jpg", "a.jpg", "c.jpg"])
    assert opened(path).image_ids == ["b.jpg", "a.jpg", "c.jpg"]
    path = write(tmp_path, image_features=FEATURES)
    assert opened(path).image_ids is None
    (tmp_path / "train36_ids.txt").write_text("7\n5\n6\n")
    assert opened(path).image_ids == ["7", "5", "6"]
    (tmp_path / "train36_ids.txt").write_text("7\n5\n7\n")
    with pytest.raises(DataError, match="train36_ids.txt has 3 ids, 2 of them different, expecte"):
        opened(path)


def test_the_way_out_of_a_pickle_of_ids_works(tmp_path):
    """The error names a command; what that command writes is then read."""
    field.write_root_hdf5(tmp_path / "train36.hdf5", ids=None)
    rows = {number: row for row, number in enumerate(COCO_IDS)}
    (tmp_path / "train36_imgid2idx.pkl").write_bytes(pickle.dumps(rows))
    path = field.write_karpathy(tmp_path)
    with pytest.raises(
        DataError, match="train36.hdf5 has no ids to find images by: write"
    ) as error:
        field.opened(path, "train")
    message = str(error.value)
    assert "train36_imgid2idx.pkl is not opened, because a pickle can run code" in message
    exec(message.split('python -c "')[1].removesuffix('"'))
    assert (tmp_path / "train36_ids.txt").read_text().split() == [str(i) for i in COCO_IDS]
    assert_holds(field.opened(path, "train"), field.OURS["train"])


def test_which_axis_is_the_regions(tmp_path):
    wide = RNG.normal(size=(2, 7, 300)).astype(np.float32)
    for features in (wide, wide.swapaxes(1, 2)):
        found = opened(write(tmp_path, image_features=features))
        np.testing.assert_array_equal(found.read_images(np.arange(2))[0], wide)
    # Boxes show which axis is the regions where features are narrow.
    boxes = np.ones((3, 4, 8), np.float32)
    found = opened(write(tmp_path, image_features=FEATURES, image_bb=boxes))
    np.testing.assert_array_equal(found.read_images(np.arange(3))[0], FEATURES.swapaxes(1, 2))


def test_boxes_in_pixels_stay_without_sizes(tmp_path):
    boxes = RNG.uniform(0, 500, size=(3, 5, 4)).astype(np.float32)
    found = opened(write(tmp_path, image_features=FEATURES, image_bb=boxes))
    np.testing.assert_array_equal(found.read_boxes(np.arange(3)), boxes)


BROKEN = {
    "two axes": ({"image_features": FEATURES[0]}, r"shape \(5, 8\), expected \[images, regions"),
    "empty": ({"image_features": h5py.Empty("f4")}, "image_features is empty: it has no shape"),
    "integers": ({"image_features": FEATURES.astype(int)}, "image_features is int64, expected"),
    "boxes of others": (
        {"image_features": FEATURES, "image_bb": FEATURES[:2, :, :4]},
        r"/image_bb is float32 of shape \(2, 5, 4\), expected 4 numbers for each box of features",
    ),
    "boxes of three": (
        {"image_features": FEATURES, "image_bb": FEATURES[..., :3]},
        r"/image_bb is float32 of shape \(3, 5, 3\), expected 4 numbers for each box",
    ),
    "flat boxes": (
        {"image_features": FEATURES, "image_bb": FEATURES[0]},
        r"/image_bb is float32 of shape \(5, 8\), expected 4 numbers for each box",
    ),
    "a number for boxes": (
        {"image_features": FEATURES, "image_bb": np.float32(3)},
        "/image_bb is float32 .* expected 4 numbers for each box",
    ),
    "no columns": (
        {"image_features": FEATURES[0, :, :0], "pos_boxes": [[0, 2], [2, 5]]},
        r"train36.hdf5: the features have shape \(5, 0\): it is empty",
    ),
    "a range that leaves": (
        {"image_features": FEATURES[0], "pos_boxes": [[0, 2], [2, 6]]},
        r"pos_boxes: row 1 is \[2, 6\], expected ranges of the 5 rows",
    ),
    "an empty range": (
        {"image_features": FEATURES[0], "pos_boxes": [[2, 2]]},
        r"pos_boxes: row 0 is \[2, 2\]",
    ),
    "no ranges": (
        {"image_features": FEATURES[0], "pos_boxes": np.zeros((0, 2), int)},
        "pos_boxes: it is empty",
    ),
    "ranges of another kind": (
        {"image_features": FEATURES[0], "pos_boxes": [1, 2]},
        r"pos_boxes is int64 of shape \(2,\), expected \[n, 2\]",
    ),
    "too few ids": ({"image_features": FEATURES, "ids": [1, 2]}, "/ids has 2 ids, .*expected 3"),
    "ids that are fractions": (
        {"image_features": FEATURES, "ids": [0.5, 1, 2]},
        "/ids is float64 of shape .*expected a list of strings",
    ),
    "sizes of others": (
        {"image_features": FEATURES, "widths": [1, 2], "heights": [1, 2]},
        r"/widths is int64 of shape \(2,\), expected a number for each of the 3 images",
    ),
    "no size": (
        {"image_features": FEATURES, "widths": [1, 0, 1], "heights": [1, 2, 1]},
        "train36.hdf5:/widths, row 1: 0, expected a positive number",
    ),
    "too many regions": (
        {"image_features": FEATURES, "num_boxes": [1, 2, 6]},
        "train36.hdf5:/num_boxes, row 2: 6, expected 1 to 5",
    ),
    **{
        f"{count} regions": (
            {"image_features": FEATURES, "num_boxes": [1, count, 2]},
            f"train36.hdf5:/num_boxes, row 1: {count}, expected 1 to 5",
        )
        for count in (np.inf, np.nan, -3.0, 1.5)
    },
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", BROKEN)
def test_broken_parts(tmp_path, case):
    parts, message = BROKEN[case]
    with pytest.raises(DataError, match=message):
        opened(write(tmp_path, **parts))


def test_non_finite_rows_are_named(tmp_path):
    features = FEATURES.copy()
    features[2, 1, 3] = np.inf
    path = write(tmp_path, image_features=features, ids=[1, 2, 3])
    with pytest.raises(
        DataError, match="train36.hdf5:/image_features, row 2: features of region 1"
    ):
        opened(path).read_images(np.array([0, 2]))


def test_non_finite_rows_are_named_in_the_file_of_several(tmp_path):
    features = np.array(field.padded(field.FEATURES[:1], field.WIDTH))
    features[0, 4, 3] = np.inf
    field.write_root_hdf5(tmp_path / "one.hdf5", images=[1, 2, 3])
    with h5py.File(tmp_path / "two.hdf5", "w") as file:
        file["image_features"], file["ids"] = features, [COCO_IDS[0]]
        file["spatial_features"] = np.ones((1, 17, 6), np.float32)
    dataset = field.opened(field.write_karpathy(tmp_path), "train")
    with pytest.raises(DataError, match="two.hdf5:/image_features, row 0: features of region 4"):
        dataset.read_images(np.array([1, 0]))
