import threading

import h5py
import numpy as np
import pytest

from hslm_tf.convert import main
from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert
from tests.data import field_files as field
from tests.data.split_files import (
    IMAGES,
    anonymous_memory,
    assert_same,
    captions_of,
    write_sparse_array,
    write_split,
    write_two_splits,
)

PLACES = {"precomputed": "folder", "hdf5": "data.h5"}


def convert_to(kind, source, target, **options):
    return convert(source, target / PLACES[kind], progress=False, **options)


@pytest.mark.parametrize("first", PLACES)
@pytest.mark.parametrize("second", PLACES)
def test_every_form_to_every_other(tmp_path, first, second):
    source = write_two_splits(tmp_path / "source")
    convert_to(first, source, tmp_path / "1")
    convert_to(second, tmp_path / "1" / PLACES[first], tmp_path / "2")
    for split in ("dev", "train"):
        assert_same(
            load_dataset(tmp_path / "2" / PLACES[second], split), load_dataset(source, split)
        )


def test_files_written(tmp_path):
    source = write_split(write_split(tmp_path / "source", "dev"), "train", full=False)
    written = convert_to("precomputed", source, tmp_path, splits=["train"])
    assert sorted(path.name for path in written) == ["train_caps.txt", "train_ims.npy"]
    assert sorted(written) == sorted((tmp_path / "folder").iterdir())
    for name in ("train_caps.txt", "train_ims.npy"):
        assert (tmp_path / "folder" / name).read_bytes() == (source / name).read_bytes()


@pytest.mark.parametrize("layout", ["auto", "per_caption"])
def test_repeated_rows_become_one_row_per_image(tmp_path, layout):
    regions = np.random.default_rng(0).normal(size=(IMAGES, 4, 3)).astype(np.float16)
    rows, captions = np.repeat(regions, 3, axis=0), captions_of(IMAGES, 3)
    source = write_split(tmp_path / "source", full=False, ims=rows, caps=captions)
    convert_to("precomputed", source, tmp_path, layout=layout)
    converted = np.load(tmp_path / "folder" / "train_ims.npy")
    assert converted.dtype == np.float16
    np.testing.assert_array_equal(converted, regions)


def test_feature_types(tmp_path):
    regions = np.zeros((IMAGES, 4, 3), np.float32)
    regions[2, 1, 0] = 1e5
    source = write_split(tmp_path / "source", full=False, ims=regions)
    with pytest.raises(
        DataError, match=r"row 2: the largest feature 100000.0 does not fit float16"
    ):
        convert_to("precomputed", source, tmp_path, dtype="float16")
    assert not list((tmp_path / "folder").iterdir())
    write_split(source, full=False, ims=regions / 10)
    convert_to("hdf5", source, tmp_path, dtype="float16")
    assert load_dataset(tmp_path / "data.h5", "train").region_features.dtype == np.float16


def test_float64(tmp_path):
    rows = np.random.default_rng(0).normal(size=(3, 2, 4))
    np.save(tmp_path / "train_ims.npy", rows)
    (tmp_path / "train_caps.txt").write_text("a\nb\nc\n")
    with pytest.raises(DataError, match="is float64, .*`python -m hslm_tf.convert SOURCE TARGET`"):
        load_dataset(tmp_path, "train")
    convert(tmp_path, tmp_path / "out", progress=False)
    converted = np.load(tmp_path / "out" / "train_ims.npy")
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted, rows.astype(np.float32))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/ims"], file["train/caps"] = rows, ["a", "b", "c"]
    convert(tmp_path / "a.h5", tmp_path / "b.h5", progress=False, dtype="float16")
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(file["train/ims"][()], rows.astype(np.float16))
    rows[1, 0, 2] = 1e300
    np.save(tmp_path / "train_ims.npy", rows)
    with pytest.raises(DataError, match="train_ims.npy, row 1: features of region 0 hold inf"):
        convert(tmp_path, tmp_path / "out", overwrite=True, progress=False)


@pytest.mark.parametrize("kind", PLACES)
def test_refuses_to_overwrite_unless_asked(tmp_path, kind):
    source = write_split(tmp_path / "source")
    convert_to(kind, source, tmp_path)
    write_split(source, caps=[f"new {caption}" for caption in captions_of()])
    with pytest.raises(DataError, match="already there: overwrite was not asked for"):
        convert_to(kind, source, tmp_path)
    assert load_dataset(tmp_path / PLACES[kind], "train").captions == captions_of()
    convert_to(kind, source, tmp_path, overwrite=True)
    assert load_dataset(tmp_path / PLACES[kind], "train").captions[0].startswith("new ")


def test_overwriting_leaves_no_part_of_the_old_split(tmp_path):
    convert_to("precomputed", write_split(tmp_path / "rich"), tmp_path)
    plain = write_split(tmp_path / "plain", full=False)
    convert(plain, tmp_path / "folder", overwrite=True, progress=False)
    names = sorted(path.name for path in (tmp_path / "folder").iterdir())
    assert names == ["train_caps.txt", "train_ims.npy"]
    assert load_dataset(tmp_path / "folder", "train").captions == captions_of()


@pytest.mark.parametrize("kind", PLACES)
def test_an_error_half_way_leaves_the_target_as_it_was(tmp_path, kind):
    source = write_two_splits(tmp_path / "source")
    convert_to(kind, source, tmp_path)
    regions = np.load(source / "train_ims.npy")
    regions[0, 0, 0] = np.nan
    np.save(source / "train_ims.npy", regions)
    with pytest.raises(DataError, match="train_ims.npy, row 0"):
        convert_to(kind, source, tmp_path, overwrite=True)
    assert not list(tmp_path.rglob(".draft*"))
    assert load_dataset(tmp_path / PLACES[kind], "train").read_images(np.arange(IMAGES))[0].any()


@pytest.mark.parametrize("kind", PLACES)
def test_images_alone_with_unequal_regions_and_without_ids(tmp_path, kind):
    source = write_split(tmp_path / "source", full=False)
    (source / "train_caps.txt").unlink()
    counts = np.arange(1, IMAGES + 1) % 3 + 1
    np.save(source / "train_num_regions.npy", counts)
    convert_to(kind, source, tmp_path, images_alone=True)
    found = load_dataset(tmp_path / PLACES[kind], "train", captions_optional=True)
    assert found.num_images == IMAGES and not found.captions and found.boxes is None
    np.testing.assert_array_equal(found.num_regions, counts)
    expected = load_dataset(source, "train", captions_optional=True).read_images(np.arange(IMAGES))[
        0
    ]
    features = found.read_images(np.arange(IMAGES))[0]
    np.testing.assert_array_equal(features, expected[:, : features.shape[1]])
    assert not expected[:, features.shape[1] :].any()


@pytest.mark.parametrize("kind", PLACES)
def test_images_that_differ_in_their_captions(tmp_path, kind):
    source = write_split(tmp_path / "source")
    ids = (source / "train_ids.txt").read_text("utf-8").split()
    captions = [
        (image_id, f"caption {n} of {image_id}")
        for row, image_id in enumerate(ids)
        for n in range(row % 3 + 1)
    ]
    (source / "train_ids.txt").write_text("".join(f"{image_id}\n" for image_id, _ in captions))
    (source / "train_caps.txt").write_text("".join(f"{caption}\n" for _, caption in captions))
    convert_to(kind, source, tmp_path)
    assert_same(load_dataset(tmp_path / PLACES[kind], "train"), load_dataset(source, "train"))


def test_places_that_cannot_be(tmp_path):
    source = write_split(tmp_path / "source")
    with pytest.raises(DataError, match="is the source itself"):
        convert(source, tmp_path / "source" / ".")
    with pytest.raises(DataError, match="holds no split: there is no such file or folder"):
        convert(tmp_path / "none", tmp_path / "out")
    with pytest.raises(DataError, match="has no split 'dev'; it has train"):
        convert(source, tmp_path / "out", splits=["train", "dev"])
    assert not (tmp_path / "out").exists()


def test_the_first_regions_are_kept(tmp_path):
    """Of another tool's files and of a data set."""
    field.write_npz(tmp_path / "features")
    path = field.write_karpathy(tmp_path)
    whole = field.opened(path, "train")
    convert(path, tmp_path / "whole", progress=False)
    rows = np.array([1, 0])
    for source in (path, tmp_path / "whole"):
        for most, counts in ((14, [14, 12]), (11, [11, 11])):
            kept = field.opened(source, "train", max_regions=most)
            regions, mask = kept.read_images(rows)
            np.testing.assert_array_equal(regions, whole.read_images(rows)[0][:, :most])
            np.testing.assert_array_equal(kept.read_boxes(rows), whole.read_boxes(rows)[:, :most])
            assert mask.sum(axis=1).tolist() == counts and kept.max_regions == most
        assert kept.num_regions is None
        with pytest.raises(ValueError, match="at least 1. Received: max_regions=0"):
            field.opened(source, "train", max_regions=0)
    main([str(path), str(tmp_path / "out"), "--max-regions", "11"])
    assert np.load(tmp_path / "out" / "train_ims.npy").shape == (2, 11, field.WIDTH)
    assert np.load(tmp_path / "out" / "train_boxes.npy").shape == (2, 11, 4)
    assert not (tmp_path / "out" / "train_num_regions.npy").exists()


def test_memory_stays_bounded(tmp_path):
    images = 1000
    size = write_sparse_array(tmp_path / "train_ims.npy", (images, 36, 2048))
    (tmp_path / "train_caps.txt").write_text("\n".join(captions_of(images, 1)))
    before, peak, done = anonymous_memory(), [0], threading.Event()

    def watch():
        while not done.wait(0.002):
            peak.append(anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    convert(tmp_path, tmp_path / "out.h5", layout="per_image", dtype="float16", progress=False)
    done.set()
    watcher.join()
    assert size > 290e6
    assert max(peak) - before < 100e6
    assert load_dataset(tmp_path / "out.h5", "train", "per_image").num_images == images


def test_command(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setattr("hslm_tf.data.progress.PATIENCE_SECONDS", 0.0)
    source = write_split(tmp_path / "source")
    main([str(source), str(tmp_path / "data.h5"), "--splits", "train"])
    output = capsys.readouterr()
    assert output.out.strip() == str(tmp_path / "data.h5")
    assert f"train: {IMAGES} of {IMAGES} images" in caplog.text
    with pytest.raises(SystemExit, match="error: .*data.h5 already there"):
        main([str(source), str(tmp_path / "data.h5")])
