"""Files that could be read as something else: each is refused, and named."""

import os

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


def test_a_file_that_became_another(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float32))
    dataset = opened(tmp_path, "all", images_alone=True)
    np.save(tmp_path / "a.npy", np.full((1, 1), 9, np.float32))
    with pytest.raises(DataError, match=r"a.npy: the features have shape \(1, 1\), exp"):
        dataset.read_images(np.array([0]))


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
