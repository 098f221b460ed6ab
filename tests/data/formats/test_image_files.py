import zipfile

import numpy as np
import pytest

from hslm_tf.data import DataError
from hslm_tf.data.formats.image_files import image_files
from tests.data import field_files as field

RNG = np.random.default_rng(0)
X = np.ones((2, 3), np.float32)


def opened(folder):
    return field.opened(folder, "all", images_alone=True)


@pytest.mark.parametrize("key", ["x", "features", "feat"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f4"])
def test_keys_and_types(tmp_path, key, dtype):
    values = {name: RNG.normal(size=(3, 4)).astype(dtype) for name in "ba"}
    for name, value in values.items():
        np.savez(tmp_path / f"{name}.npz", **{key: value})
    dataset = opened(tmp_path)
    assert dataset.image_ids == ["a", "b"] and dataset.boxes is None
    regions, mask = dataset.read_images(np.array([1, 0, 1]))
    assert mask.all()
    np.testing.assert_array_equal(regions, [values[name].astype("f4") for name in "bab"])


@pytest.mark.parametrize("key", ["arr_0", "roi_features"])
def test_the_only_matrix_is_the_features(tmp_path, key):
    for name in "ab":
        (tmp_path / "features").mkdir(exist_ok=True)
        arrays = {key: X, "bbox": np.ones((2, 4), "f4"), "score": X[0], "info": np.array({1: 2})}
        np.savez(tmp_path / f"features/{name}.npz", **arrays)
    for folder in (tmp_path, tmp_path / "features"):
        dataset = opened(folder)
        assert dataset.image_ids == ["a", "b"] and dataset.boxes is not None
        np.testing.assert_array_equal(dataset.read_images(np.array([1]))[0][0], X)
    np.savez(tmp_path / "features/c.npz", means=X)
    with pytest.raises(DataError, match=f"features/c.npz holds means, expected one of {key}"):
        opened(tmp_path)


@pytest.mark.parametrize("arrays", [[X, X], [X[0]], []])
def test_no_array_must_be_the_features(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", *arrays, bbox=X)
    held = "".join(f"arr_{number}, " for number in range(len(arrays)))
    message = f"a.npz holds bbox, {held}expected the features as one of x, feat.* only array of two"
    with pytest.raises(DataError, match=message):
        opened(tmp_path)


def test_matrices_beside_features_are_none(tmp_path):
    field.write_bottom_up(tmp_path / "a.tsv")
    np.savez(tmp_path / "word_vectors.npz", vectors=X)
    assert opened(tmp_path).num_images == 4


def test_rows_beyond_num_bbox_are_padding(tmp_path):
    values = RNG.normal(size=(5, 4)).astype(np.float32)
    values[3:] = np.nan
    boxes = RNG.uniform(size=(5, 4)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=values, bbox=boxes, num_bbox=3)
    np.savez(tmp_path / "b.npz", x=values[:1], bbox=boxes[:1])
    dataset = opened(tmp_path)
    assert dataset.max_regions == 3
    np.testing.assert_array_equal(dataset.num_regions, [3, 1])
    np.testing.assert_array_equal(dataset.read_images(np.array([0]))[0][0], values[:3])
    # Without the size of the image, boxes are what they are.
    np.testing.assert_array_equal(dataset.read_boxes(np.array([0]))[0], boxes[:3])


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, order):
    values = {
        name: np.asarray(RNG.normal(size=(n + 2, 4)), "f4", order=order)
        for n, name in enumerate(["a.jpg", "b"])
    }
    for name, value in values.items():
        np.save(tmp_path / f"{name}.npy", value)
        np.save(tmp_path / f"{name}_info.npy", np.array({"num_boxes": 2}, dtype=object))
    dataset = opened(tmp_path)
    assert dataset.image_ids == ["a.jpg", "b"]
    regions, mask = dataset.read_images(np.array([1, 0]))
    np.testing.assert_array_equal(regions[0], values["b"])
    np.testing.assert_array_equal(regions[1, :2], values["a.jpg"])
    assert mask.sum(axis=1).tolist() == [3, 2]


BROKEN = {
    "other arrays": ({"y": X}, "b.npz holds y, expected one of x, features, feat"),
    "three axes": ({"x": X[None]}, r"b.npz: the features are float32 of shape \(1, 2, 3\), expe"),
    "integers": ({"x": X.astype(int)}, "b.npz: the features are int64 of shape"),
    "none": ({"x": X[:0]}, r"b.npz: the features are float32 of shape \(0, 3\)"),
    "too many boxes": ({"x": X, "num_bbox": 3}, "b.npz: num_bbox is 3, expected 1 to 2"),
    **{
        f"{count} boxes": (
            {"x": X, "num_bbox": count},
            f"b.npz: num_bbox is {count}, expected 1 to",
        )
        for count in (np.inf, np.nan, -3, 1.5)
    },
    "no box": ({"x": X, "num_bbox": 0}, "b.npz: num_bbox is 0, expected 1 to 2"),
    "a list of counts": ({"x": X, "num_bbox": [1, 2]}, r"num_bbox is int64 of shape \(2,\)"),
    "no size": ({"x": X, "image_w": 0, "image_h": 5}, "b.npz: the image is 0 x 5"),
    "an endless size": ({"x": X, "image_w": 1e300, "image_h": 5}, "b.npz: the image is inf x 5"),
    "another width": ({"x": X[:, :2]}, "b.npz has 2 numbers a region without boxes, but .*a.npz 3"),
    "boxes of some": ({"x": X, "bbox": X}, "b.npz has 3 numbers a region with boxes, but .*a.npz"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files(tmp_path, case):
    arrays, message = BROKEN[case]
    np.savez(tmp_path / "a.npz", x=X)
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(DataError, match=message):
        opened(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"text"])
def test_files_that_are_no_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="a.npz cannot be read as .npz"):
        opened(tmp_path)


def test_damage_found_when_reading(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.full((2, 3), np.nan, "f4"), bbox=np.ones((2, 5), "f4"))
    dataset = opened(tmp_path)
    with pytest.raises(DataError, match="a.npz: features of region 0 hold nan in column 0"):
        dataset.read_images(np.array([0]))
    with pytest.raises(DataError, match=r"a.npz: bbox has shape \(2, 5\), expected \(2, 4\)"):
        dataset.read_boxes(np.array([0]))
    (tmp_path / "a.npz").unlink()
    with pytest.raises(DataError, match="a.npz cannot be read as .npz: .*No such file"):
        dataset.read_images(np.array([0]))


def test_a_size_that_does_not_fit_the_file(tmp_path):
    """The header says more numbers than follow: NumPy would take memory for them first."""
    np.savez(tmp_path / "a.npz", x=X)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        content = archive.read("x.npy").replace(b"(2, 3), }     ", b"(2, 300000), }")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    dataset = opened(tmp_path)
    with pytest.raises(DataError, match=r"x has 24 bytes, expected float32 of shape \(2, 3000"):
        dataset._read(dataset.region_features, np.array([0]), np.ones((1, 2), bool), "features")


def test_an_image_twice(tmp_path):
    np.savez(tmp_path / "a.npz", x=X)
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(DataError, match="a.npz and a.npy are of the same image: keep one"):
        opened(tmp_path)


def test_a_precomputed_split_is_no_folder_of_image_files(tmp_path):
    np.save(tmp_path / "train_ims.npy", X[None])
    np.savez(tmp_path / "a.npz", x=X)
    assert image_files(tmp_path) == {}


def test_boxes_of_a_precomputed_split_are_no_image_files(tmp_path):
    np.save(tmp_path / "mine_boxes.npy", np.zeros((2, 3, 4), np.float32))
    np.save(tmp_path / "mine_num_regions.npy", np.ones(2, int))
    (tmp_path / "mine_ids.txt").write_text("a\nb\n", "utf-8")
    with pytest.raises(DataError, match="holds no region features"):
        field.opened(tmp_path, "mine", images_alone=True)
    (tmp_path / "mine_ids.txt").unlink()
    assert set(image_files(tmp_path)) == {"mine_boxes", "mine_num_regions"}
