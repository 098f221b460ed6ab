"""Files that could be read as something that they are not: each is refused, and named."""

import json
import os

import h5py
import numpy as np
import pytest

from hslm_tf.convert import main
from hslm_tf.data import DataError
from hslm_tf.data.convert import convert
from tests.data import field_files as field
from tests.data.field_files import encode, opened


def test_captions_without_ids_need_features_of_their_own(tmp_path):
    """The features of dev are not those of train."""
    field.write_bottom_up(tmp_path / "dev.tsv", images=[0, 1])
    (tmp_path / "train_caps.txt").write_text("\n".join("abcdefghij"))
    (tmp_path / "dev_caps.txt").write_text("\n".join("abcd"))
    with pytest.raises(DataError, match="train_caps.txt has captions without ids, and no region"):
        convert(tmp_path, tmp_path / "out", progress=False)
    assert opened(tmp_path, "dev").num_captions == 4


def test_features_without_captions_to_belong_to(tmp_path):
    features = field.write_npz(tmp_path / "features")
    (tmp_path / "notes.txt").write_text("hello")
    for name in ("none.json", "notes.txt"):
        with pytest.raises(DataError, match=f"{name} holds no captions for the region features"):
            opened(tmp_path / name, "all", features=features, images_alone=True)


def objects(*features, **more):
    each = [{"feature": encode(values), "rect": [0, 0, 1, 1]} for values in features]
    return {"objects": each, "image_w": 2, "image_h": 2} | more


JSON = {
    "features that differ in length": (objects([1, 2, 3], [4, 5, 6, 7, 8]), "differ in length"),
    "a box of no numbers": (
        {**objects([1, 2]), "objects": [{"feature": encode([1, 2]), "rect": []}]},
        "rect of the objects is not four finite numbers each",
    ),
    "an endless box": (
        {**objects([1, 2]), "objects": [{"feature": encode([1, 2]), "rect": [0, 0, 1, 1e999]}]},
        "rect of the objects is not four finite numbers each",
    ),
    "half a box more": ({"num_boxes": 2.7, "features": encode([1, 2])}, "num_boxes is 2.7, expec"),
    "a flag for a number": ({"num_boxes": True, "features": encode([1])}, "num_boxes is True"),
    "no features": ({"num_boxes": 1}, "line 1: 'features' is missing"),
    "an endless image": (
        {"num_boxes": 1, "features": encode([1]), "image_w": 1e300, "image_h": 2},
        "the image is inf x 2.0, expected a positive size",
    ),
}


@pytest.mark.parametrize("case", JSON)
def test_json_of_vinvl(tmp_path, case):
    content, message = JSON[case]
    (tmp_path / "a.tsv").write_text(f"7\t{json.dumps(content)}\n")
    with pytest.raises(DataError, match=f"a.tsv, line 1.*{message}|{message}"):
        opened(tmp_path / "a.tsv", "all", images_alone=True)


def test_two_counts_that_differ(tmp_path):
    content = json.dumps({"num_boxes": 2, "features": encode([1, 2])})
    (tmp_path / "a.tsv").write_text(f"7\t1\t{content}\n")
    with pytest.raises(DataError, match="a.tsv, line 1: num_boxes is 2, expected a whole number"):
        opened(tmp_path / "a.tsv", "all", images_alone=True)


def test_a_file_that_became_another(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float32))
    dataset = opened(tmp_path, "all", images_alone=True)
    np.save(tmp_path / "a.npy", np.full((1, 1), 9, np.float32))
    with pytest.raises(DataError, match=r"a.npy: the features have shape \(1, 1\), exp"):
        dataset.read_images(np.array([0]))


def test_an_endless_image_in_an_npz(tmp_path):
    x, box = np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)
    np.savez(tmp_path / "a.npz", x=x, bbox=box, image_w=1e300, image_h=5)
    with pytest.raises(DataError, match="a.npz: the image is inf x 5"):
        opened(tmp_path, "all", images_alone=True)


@pytest.mark.parametrize("boxes", [np.ones((2, 4)), np.ones(3), np.float32(3)], ids=str)
def test_boxes_of_another_rank(tmp_path, boxes):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["image_features"] = np.ones((2, 200, 6), np.float32)
        file["image_bb"] = boxes
    with pytest.raises(DataError, match="a.hdf5:/image_bb is float.* expected 4 numbers for each"):
        opened(tmp_path / "a.hdf5", "all", images_alone=True)


def test_features_without_columns(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["image_features"] = np.ones((4, 0), np.float32)
        file["pos_boxes"] = [[0, 2], [2, 4]]
    with pytest.raises(DataError, match=r"a.hdf5: the features have shape \(4, 0\): it is empty"):
        opened(tmp_path / "a.hdf5", "all", images_alone=True)


def test_a_split_that_is_not_there(tmp_path):
    path = tmp_path / "own.token"
    path.write_text("a.jpg#0\ta dog\n")
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float32))
    with pytest.raises(SystemExit, match="error: .*own.token has no split 'foo'; it has all"):
        main([str(path), "--dry-run", "--splits", "foo"])


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "train_caps.txt"])
def test_a_pipe_is_no_file(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="holds no split"):
        convert(tmp_path, tmp_path / "out", progress=False)


@pytest.mark.parametrize("name", [" ", "a ", b"caf\xe9"])
def test_names_that_a_list_of_ids_cannot_hold(tmp_path, name):
    path = tmp_path / f"{os.fsdecode(name)}.npy"
    np.save(path, np.ones((3, 4), np.float32))
    with pytest.raises(DataError, match="the id .* is not one line of text"):
        convert(tmp_path, tmp_path / "out", images_alone=True, progress=False)


def test_the_line_of_a_value_that_float16_cannot_hold(tmp_path):
    field.write_bottom_up(tmp_path / "a.tsv", images=[0, 1])
    content = (tmp_path / "a.tsv").read_text().splitlines()
    fields = content[1].split("\t")
    fields[-1] = encode(np.full((field.COUNTS[1], field.WIDTH), 1e6))
    (tmp_path / "a.tsv").write_text("\n".join([content[0], "\t".join(fields)]) + "\n")
    with pytest.raises(DataError, match="a.tsv, line 2: the largest feature 1000000.0 does"):
        convert(tmp_path, tmp_path / "out", dtype="float16", images_alone=True, progress=False)
