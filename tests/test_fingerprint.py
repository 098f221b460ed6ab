"""A fingerprint is that of the content, whatever the format, and names what differs."""

import numpy as np
import pytest

from hslm_tf.data import load_dataset
from hslm_tf.data.convert import convert
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.fingerprint import DataFingerprint
from tests.data.split_files import IMAGES, PER_IMAGE, REGIONS, WIDTH, captions_of, write_split


def fingerprint(folder, split="train", **parts) -> DataFingerprint:
    return DataFingerprint.of(load_dataset(write_split(folder, split, **parts), split))


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> DataFingerprint:
    return fingerprint(tmp_path_factory.mktemp("first"))


@pytest.mark.parametrize("target", ["data.h5", "precomputed"])
def test_the_format_does_not_matter(target, first, tmp_path):
    source = write_split(tmp_path / "source")
    convert(source, tmp_path / target, progress=False)
    assert DataFingerprint.of(load_dataset(tmp_path / target, "train")) == first


def test_names_of_split_and_folder_do_not_matter(first, tmp_path):
    assert fingerprint(tmp_path / "elsewhere", "dev") == first


def test_a_row_for_every_caption_is_the_same_images(tmp_path):
    ims = np.random.default_rng(0).normal(size=(IMAGES, REGIONS, WIDTH)).astype(np.float32)
    rows = ims.repeat(PER_IMAGE, axis=0)
    repeated = fingerprint(tmp_path / "repeated", full=False, ims=rows)
    assert repeated == fingerprint(tmp_path / "once", full=False, ims=ims)


def test_ids_that_are_missing_fit(first, tmp_path):
    source = write_split(tmp_path)
    (source / "train_ids.txt").unlink()
    without = DataFingerprint.of(load_dataset(source, "train"))
    assert without.ids_sha256 is None
    assert without.differences(first) == first.differences(without) == []


FEATURES = np.random.default_rng(0).normal(size=(IMAGES, REGIONS, WIDTH)).astype(np.float32)
WITHOUT_FIRST = {
    "ims": FEATURES[1:],
    "caps": captions_of()[PER_IMAGE:],
    "ids": [f"photo_{i}.jpg" for i in range(1, IMAGES)],
    "boxes": np.zeros((IMAGES - 1, REGIONS, 4), np.float32),
    "num_regions": np.array([1, 2, 3, 4, 2]),
}


@pytest.mark.parametrize(
    "parts, found",
    [
        ({"caps": [*captions_of()[:-1], "a cat"]}, ["other captions"]),
        ({"caps": captions_of()[::-1]}, ["other captions"]),
        ({"ids": [f"{i}.jpg" for i in range(IMAGES)]}, ["other ids"]),
        ({"ims": FEATURES + np.float32(1e-6)}, ["other features"]),
        ({"ims": FEATURES[::-1].copy()}, ["other features"]),
        ({"num_regions": np.array([4, 1, 2, 3, 4, 3])}, ["other features"]),
        (
            {"ims": FEATURES.astype(np.float16)},
            ["float16 features instead of float32", "other features"],
        ),
        ({"ims": np.dstack([FEATURES, FEATURES])}, ["6 columns of features instead of 3"]),
        (WITHOUT_FIRST, ["5 images instead of 6", "25 captions instead of 30"]),
    ],
)
def test_what_differs_is_named(parts, found, first, tmp_path):
    assert fingerprint(tmp_path, **parts).differences(first) == found


def test_another_number_of_regions(tmp_path):
    more = np.concatenate([FEATURES, FEATURES], axis=1)
    eight, seven = (
        fingerprint(tmp_path / str(count), full=False, ims=more[:, :count]) for count in (8, 7)
    )
    assert eight.differences(seven) == ["8 regions an image instead of 7"]


def of_arrays(features, captions=("a", "b"), caption_to_image=(0, 1)) -> DataFingerprint:
    images = np.array(caption_to_image, np.int32)
    return DataFingerprint.of(RetrievalDataset("test", "here", features, list(captions), images))


def test_where_captions_end_and_where_they_belong_counts():
    features = FEATURES[:2]
    one = of_arrays(features, ["ab", "c"])
    assert of_arrays(features, ["a", "bc"]).differences(one) == ["other captions"]
    assert of_arrays(features, ["ab", "c"], [0, 0]).differences(one) == ["captions of other images"]


class CountedRows:
    """Rows that note which of them were read."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape, self.dtype, self.read = rows, rows.shape, rows.dtype, []

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.read += rows.tolist()
        return self.rows[rows]


def test_of_many_images_64_are_read_from_the_first_to_the_last():
    rows = CountedRows(np.random.default_rng(0).normal(size=(1000, 2, 3)).astype(np.float32))
    before = of_arrays(rows)
    read = rows.read.copy()
    assert len(set(read)) == len(read) == 64
    assert (read[0], read[-1]) == (0, 999)
    assert set(np.diff(read)) <= {15, 16}

    rows.rows[1] += 1
    assert of_arrays(rows).differences(before) == [], "what the docstring says it misses"
    rows.rows[read[20]] += 1
    assert of_arrays(rows).differences(before) == ["other features"]
