"""Several files that are one collection, and files that could be read as something else."""

import os

import numpy as np
import pytest

from hslm_tf.convert import main
from hslm_tf.data import DataError
from hslm_tf.data.convert import convert
from tests.data import field_files as field
from tests.data.field_files import STEMS, assert_holds, encode, opened


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


def test_a_file_that_became_another(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float32))
    dataset = opened(tmp_path, "all", images_alone=True)
    np.save(tmp_path / "a.npy", np.full((1, 1), 9, np.float32))
    with pytest.raises(DataError, match=r"a.npy: the features have shape \(1, 1\), exp"):
        dataset.read_images(np.array([0]))


def test_a_tsv_that_became_another(tmp_path):
    path = field.write_lxmert(tmp_path / "a.tsv")
    dataset = opened(path, "all", images_alone=True)
    field.write_lxmert(path, images=[1])
    with pytest.raises(DataError, match="a.tsv, line 3 was whole when the file was opened: "):
        dataset.read_images(np.array([2]))


def write_oscar(path):
    rows = zip(STEMS, field.COUNTS, field.FEATURES, strict=True)
    path.write_text("".join(f"{name}\t{count}\t{encode(x)}\n" for name, count, x in rows))


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize(
    "write", [field.write_bottom_up, field.write_lxmert, field.write_vinvl, write_oscar]
)
def test_two_lines_that_became_one(tmp_path, write, row):
    write(tmp_path / "a.tsv")
    lines = (tmp_path / "a.tsv").read_text().splitlines()
    lines[row : row + 2] = [lines[row] + lines[row + 1]]
    (tmp_path / "a.tsv").write_text("\n".join(lines))
    fields = lines[row].count("\t") + 1
    message = f"a.tsv, line {row + 1}: {fields} fields, expected .* two lines seem to be joined"
    with pytest.raises(DataError, match=message):
        opened(tmp_path / "a.tsv", "all", images_alone=True)


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
