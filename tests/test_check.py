"""The check of a data set says what training says."""

import json
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf import check, train
from hslm_tf.data.convert import convert
from hslm_tf.data.sample import sample_folder
from hslm_tf.images.extraction_config import ExtractionConfig
from tests.tiny_run import IMAGES, SIZES, fails, write_dataset

TRAINING = [*SIZES, *"--word-vectors None --validate-every 1 --batch-size 64".split()]


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "data")


def checked(capsys, *args) -> tuple[int, list[str]]:
    """Exit status of the command and the lines of its findings."""
    status = 0
    try:
        check.main([str(arg) for arg in args])
    except SystemExit as stop:
        status = stop.code
    lines = capsys.readouterr().out.splitlines()
    return status, [line for line in lines if line.startswith(("error: ", "warning: "))]


def training(dataset, *flags):
    out = ["--epochs", 1, "--out", dataset.parent / "run"]
    return [str(arg) for arg in (*TRAINING, *flags, "--dataset", dataset, *out)]


def refused(capsys, *args):
    """What training says, which must refuse."""
    return fails(training(*args), capsys).removeprefix("error: ")


def changed(folder, split, change):
    """Replaces the features of a split."""
    path = folder / f"{split}_ims.npy"
    np.save(path, change(np.load(path)))


def with_value(folder, split, value):
    def change(features):
        features[[2, 5], 3, 1] = value
        return features

    changed(folder, split, change)


def lines_of(folder, split, change):
    """Replaces the captions of a split."""
    path = folder / f"{split}_caps.txt"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(change(lines)) + "\n", "utf-8")


def made_with(folder, split, size):
    config = ExtractionConfig(size=size, fingerprint="f" * 64)
    (folder / f"{split}_features.json").write_text(json.dumps(config.to_dict()))


def removed(folder, split):
    for path in folder.glob(f"{split}_*"):
        path.unlink()


REFUSED = {
    "no train": lambda folder: removed(folder, "train"),
    "no dev": lambda folder: removed(folder, "dev"),
    "no captions": lambda folder: (folder / "train_caps.txt").unlink(),
    "a test split without captions": lambda folder: (folder / "test_caps.txt").unlink(),
    "a truncated file": lambda folder: os.truncate(folder / "dev_ims.npy", 2000),
    "an empty line": lambda folder: lines_of(folder, "train", lambda old: ["a", "", *old[2:]]),
    "not UTF-8": lambda folder: (folder / "dev_caps.txt").write_bytes(b"caf\xe9\n" * 60),
    "a caption too many": lambda folder: lines_of(folder, "train", lambda old: [*old, "a dog"]),
    "float64": lambda folder: changed(folder, "train", np.float64),
    "no regions": lambda folder: np.save(folder / "dev_num_regions.npy", np.zeros(IMAGES, int)),
    "an id twice": lambda folder: (folder / "train_ids.txt").write_text("a\n" * IMAGES),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_training_refuses_to_open(case, folder, capsys):
    REFUSED[case](folder)
    error = refused(capsys, folder)
    status, findings = checked(capsys, folder)
    errors = [line for line in findings if line.startswith("error: ")]
    assert status == 1 and errors[0].endswith(f": {error}")


def test_splits_that_do_not_fit(folder, capsys):
    changed(folder, "dev", lambda features: features[..., :5])
    made_with(folder, "train", 320)
    made_with(folder, "dev", 224)
    assert "dev_ims.npy: region features are 5 wide" in refused(capsys, folder)
    status, findings = checked(capsys, folder)
    assert status == 1
    assert f"{folder}/dev_ims.npy: region features are 5 wide, those of" in findings[0]
    changed(folder, "dev", lambda features: np.tile(features, 2)[..., :8])
    error = refused(capsys, folder)
    status, findings = checked(capsys, folder)
    assert status == 1 and findings[0] == f"error: dev: {error}"
    (folder / "dev_features.json").unlink()
    made_with(folder, "test", 224)
    status, findings = checked(capsys, folder)
    assert status == 0 and "size 224" in findings[0] and findings[0].startswith("warning: test: ")


@pytest.mark.parametrize("flag", ["--vocabulary", "--min-count"])
def test_a_vocabulary_that_is_broken_or_knows_nothing(flag, tmp_path, dataset_folder, capsys):
    (tmp_path / "vocabulary.json").write_text("[]")
    flags = [flag, 99 if flag == "--min-count" else tmp_path / "vocabulary.json"]
    error = refused(capsys, dataset_folder, *flags)
    status, findings = checked(capsys, dataset_folder, *flags)
    assert status == 1 and findings[0] == f"error: train: {error}"


@pytest.fixture
def eager():
    """Training without graphs, whose making takes longer than a tiny epoch."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("split, value", [("train", np.nan), ("dev", -np.inf), ("test", np.inf)])
def test_features_that_are_not_finite(split, value, folder, capsys, eager):
    with_value(folder, split, value)
    error = refused(capsys, folder)
    assert f"{split}_ims.npy, row " in error and "of region 3 hold" in error
    status, findings = checked(capsys, folder)
    assert status == 1
    assert [line for line in findings if line.startswith("error: ")] == [
        f"error: {split}: regions with NaN or infinity: 2, the first is {folder}/{split}_ims.npy, "
        f"row 2, region 3: {value} in column 1; expected finite numbers"
    ]


def test_an_image_that_cannot_be_read(folder, tmp_path, capsys, eager):
    path = tmp_path / "data.h5"
    convert(with_ids(folder), path, progress=False)
    with h5py.File(path, "a") as file:
        held = file["train/ims"][()]
        del file["train/ims"]
        chunks = (1, *held.shape[1:])
        file.create_dataset("train/ims", data=held, chunks=chunks, fletcher32=True)
        place = file["train/ims"].id.get_chunk_info(3).byte_offset
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)
    assert "data.h5:/train/ims" in refused(capsys, path)
    status, findings = checked(capsys, path)
    found = f"images that cannot be read: 1, the first is image 3: {path}:/train/ims, rows 3 to 3: "
    assert status == 1 and findings[0].startswith(f"error: train: {found}")


def with_ids(folder):
    for split in ("train", "dev", "test"):
        ids = "".join(f"{split} {image}\n" for image in range(IMAGES))
        (folder / f"{split}_ids.txt").write_text(ids)
    return folder


def test_what_is_only_suspicious_does_not_stop_training(folder, tmp_path, capsys, eager):
    with_ids(folder)

    def suspicious(features):
        features[:, :, 7] = 0
        features[1] = features[0]
        features[2] = features[3, 0] = 0
        features[4, 0, 2] = 1e6
        return features

    changed(folder, "train", suspicious)
    changed(folder, "test", lambda features: np.load(folder / "train_ims.npy"))
    lines_of(folder, "train", lambda old: ["...", "?!", "dog " * 80, *old[3:]])
    (folder / "test_ids.txt").write_text((folder / "train_ids.txt").read_text())
    boxes = np.tile(np.array([0.1, 0.1, 0.5, 0.6], np.float32), (IMAGES, 6, 1))
    boxes[0, 0], boxes[1, 1], boxes[2, 2] = np.nan, (0.5, 0.1, 0.5, 0.6), (0, 0, 1.2, 1)
    np.save(folder / "train_boxes.npy", boxes)
    (folder / "extra_ims.npy").write_bytes(b"nothing")
    status, findings = checked(capsys, folder, "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert status == 0 and report["stops_training"] is False
    assert len(findings) == len(report["findings"])
    kinds = {split: set() for split in ("train", "dev", "test", "extra")}
    for finding in report["findings"]:
        kinds[finding["split"]].add(finding["kind"])
    assert kinds["train"] == {
        *("zero_images", "zero_regions", "repeated_images", "repeated_regions"),
        *("constant_columns", "too_large_for_float16", "empty_captions", "long_captions"),
        *("unknown_captions", "non_finite_boxes", "empty_boxes", "boxes_outside"),
    }
    assert "split_refused" in kinds["extra"]
    assert kinds["test"] >= {"shared_ids", "shared_images", "shared_captions"}
    train.main(training(folder))


def test_one_image_does_not_stop_training(folder, capsys, eager):
    changed(folder, "train", lambda features: features[:1])
    lines_of(folder, "train", lambda old: ["a dog"])
    status, findings = checked(capsys, folder, "--min-count", 1)
    assert status == 0
    assert findings[0].startswith(f"warning: train: {folder}/train_ims.npy: one image has captions")
    train.main(training(folder))


def test_good_data(dataset_folder, capsys):
    # `finished_run` was trained on it.
    status, findings = checked(capsys, dataset_folder, "--min-count", 1)
    assert status == 0
    assert all(line.startswith("warning: ") and "captions with" in line for line in findings)
    check.main([str(dataset_folder)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Nothing here stops a training with --region-dim 8 --max-regions 6"


def test_other_formats_and_splits(folder, tmp_path, capsys):
    file_of_all = tmp_path / "data.h5"
    for split in ("dev", "test"):
        with_value(folder, split, np.nan)
    with h5py.File(file_of_all, "w") as file:
        for split in ("train", "dev", "test"):
            file[f"{split}/ims"] = np.load(folder / f"{split}_ims.npy")
            file[f"{split}/caps"] = (folder / f"{split}_caps.txt").read_text().splitlines()
    status, findings = checked(capsys, file_of_all)
    assert status == 1 and f"first is {file_of_all}:/dev/ims, row 2" in findings[0]
    assert checked(capsys, file_of_all, "--splits", "train")[0] == 0
    assert checked(capsys, file_of_all, "--splits", "train", "other")[0] == 1
    flags = ["--train-split", "train", "--dev-split", "train", "--test-split", "none"]
    status, findings = checked(capsys, file_of_all, *flags)
    assert status == 0 and sum("NaN" in line for line in findings) == 2


def test_the_example_in_the_docs(capsys):
    def words_of(text):
        """The words of every line that has some: rules and spaces depend on the terminal."""
        return [line.split() for line in text.splitlines() if line.strip(" ─")]

    check.main(["sample"])
    printed = capsys.readouterr().out.replace(str(sample_folder()), "DIR")
    guide = (Path(__file__).parents[1] / "docs/data.md").read_text("utf-8")
    (example,) = re.findall(r"\(DIR is its folder\):\n\n```\n(.*?)```", guide, re.DOTALL)
    assert words_of(printed) == words_of(example)


def test_what_is_no_data_set(tmp_path, capsys):
    assert f"{tmp_path} holds no split" in fails([tmp_path], capsys, check)
    report = tmp_path / "no" / "report.json"
    assert "no such folder" in fails(["sample", "--json", report], capsys, check)
