import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.build_sample import build_sample, cut_word_vectors
from hslm_tf.data import load_dataset, load_sample
from hslm_tf.data.convert import convert
from hslm_tf.data.sample import sample_folder, sample_word_vectors

IMAGES = {"train": 1000, "dev": 100, "test": 100}


@pytest.mark.parametrize("split", IMAGES)
def test_sizes_and_values(split):
    dataset = load_sample(split)
    images = IMAGES[split]
    assert (dataset.num_images, dataset.num_captions) == (images, 5 * images)
    assert (dataset.max_regions, dataset.region_dim) == (36, 128)
    assert dataset.region_features.dtype == np.float16
    regions, mask = dataset.read_images(np.arange(images))
    assert mask.all()
    assert 0.5 < regions.std() < 5
    boxes = dataset.read_boxes(np.arange(images))
    assert 0 <= boxes.min() and boxes.max() <= 1
    assert (boxes[..., 2:] > boxes[..., :2]).all()


def test_the_name_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample, dataset = load_sample("dev"), load_dataset("sample", "dev")
    assert dataset.captions == sample.captions and dataset.source == sample.source
    assert repr(dataset) == (
        "RetrievalDataset('dev', 100 images of up to 36 regions, 128 wide, 500 captions, "
        f"{dataset.source!r})"
    )
    convert("sample", "copy.h5", splits=["dev"], progress=False)
    assert load_dataset("copy.h5", "dev").captions == sample.captions


def test_splits_share_no_photograph():
    ids = [set(load_sample(split).image_ids) for split in IMAGES]
    assert len(set.union(*ids)) == sum(map(len, ids)) == 1200


def test_size_and_terms():
    files = list(sample_folder().iterdir())
    assert sum(path.stat().st_size for path in files) <= 14e6
    assert {path.suffix for path in files} == {".npy", ".npz", ".txt", ""}
    notice = (sample_folder() / "NOTICE").read_text()
    assert "non-commercial research and education" in notice
    assert "Framing Image Description as a Ranking Task" in notice
    assert "Public Domain Dedication and License" in notice and "word_vectors.npz" in notice


def test_word_vectors_are_those_of_the_samples_vocabulary(tmp_path):
    """Cut again from the slice itself, it stays as it is: every word of it is in the vocabulary."""
    for name in ("train_caps.txt", "word_vectors.npz"):
        shutil.copy(sample_folder() / name, tmp_path)
    cut_word_vectors(sample_word_vectors(), tmp_path)
    with (
        np.load(tmp_path / "word_vectors.npz") as again,
        np.load(sample_word_vectors()) as packaged,
    ):
        assert len(packaged["words"]) == 1096
        for part in ("words", "vectors"):
            np.testing.assert_array_equal(again[part], packaged[part])
        assert {"dog", "snow", "running"} <= set(packaged["words"].tolist())


@pytest.mark.skipif("HSLM_TF_DATA" not in os.environ, reason="HSLM_TF_DATA is not set")
def test_sample_is_cut_from_flickr8k(tmp_path):
    flickr8k = Path(os.environ["HSLM_TF_DATA"]) / "flickr8k"
    build_sample(flickr8k, tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (sample_folder() / path.name).read_bytes()
    whole, test = load_dataset(flickr8k, "dev").subset(100, 200), load_sample("test")
    assert (whole.captions, whole.image_ids) == (test.captions, test.image_ids)
    rows = np.arange(100)
    np.testing.assert_array_equal(whole.read_images(rows)[0][..., :128], test.read_images(rows)[0])
