import json
import os

import keras
import numpy as np
import pytest

from hslm_tf.data.convert import convert
from hslm_tf.data.errors import DataError
from hslm_tf.data.loading import load_dataset
from hslm_tf.images.extraction import Extraction
from hslm_tf.images.extraction_config import ExtractionConfig
from hslm_tf.images.extractor import RegionExtractor
from hslm_tf.images.listing import Photograph, list_photographs
from hslm_tf.images.photographs import decode_photograph
from hslm_tf.images.row_file import RowFile
from tests.images.pictures import write

BAD = {"bad.jpg": b"no photograph", "empty.png": b"", "cut.png": None}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """150 photographs in three formats, of which three cannot be read and one is not there."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(146):
        write(folder / f"{seed:03d}.{('jpg', 'png', 'webp')[seed % 3]}", seed)
    for name, content in BAD.items():
        (folder / name).write_bytes(content or (folder / "001.png").read_bytes()[:90])
    listed = list_photographs(folder, None, "test")["test"]
    return [*listed, Photograph("gone.jpg", folder / "gone.jpg")]


@pytest.fixture(scope="module")
def extractor(tiny_backbone):
    return RegionExtractor(ExtractionConfig(str(tiny_backbone), size=64))


def extract(photographs, target, extractor, **settings):
    extraction = Extraction(photographs, "test", target, extractor, **settings)
    extraction.run()
    return extraction


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture(scope="module")
def extracted(photographs, extractor, tmp_path_factory):
    target = tmp_path_factory.mktemp("data")
    return extract(photographs, target, extractor), target


def test_a_row_for_every_good_photograph(extracted, photographs, extractor):
    extraction, target = extracted
    assert sorted(path.name for path in target.iterdir()) == [
        "test_boxes.npy",
        "test_features.json",
        "test_ids.txt",
        "test_ims.npy",
        "test_num_regions.npy",
        "test_skipped.txt",
    ]
    dataset = load_dataset(target, "test", captions_optional=True)
    assert ExtractionConfig.from_dict(dataset.extraction, "here") == extractor.config
    assert dataset.num_images == 146
    good = [photograph for photograph in photographs if photograph.id in dataset.image_ids]
    assert [photograph.id for photograph in good] == dataset.image_ids
    for row in (0, 63, 64, 145):
        picture = decode_photograph(good[row].path.read_bytes())
        expected = extractor.extract([picture])
        found, mask = dataset.read_images(np.array([row]))
        np.testing.assert_allclose(found[0], expected.region_features[0], atol=1e-6)
        np.testing.assert_array_equal(dataset.read_boxes(np.array([row]))[0], expected.boxes[0])
        assert mask.all()


def test_what_is_skipped_is_named(extracted):
    extraction, target = extracted
    lines = (target / "test_skipped.txt").read_text().splitlines()
    skipped = dict(line.split("\t") for line in lines)
    assert list(skipped) == ["bad.jpg", "cut.png", "empty.png", "gone.jpg"]
    assert extraction.skipped == skipped
    assert "no photograph that can be read" in skipped["bad.jpg"]
    assert skipped["gone.jpg"] == "No such file or directory"


class Killed(BaseException):
    """Stands for a process that ends here."""


def kill(photographs, target, extractor, after=1):
    """Extracts and is killed after some blocks."""
    blocks = []

    def killed(count):
        blocks.append(count)
        if len(blocks) == after:
            raise Killed

    with pytest.raises(Killed):
        Extraction(photographs, "test", target, extractor).run(killed)


@pytest.mark.parametrize("after", [1, 2])
def test_what_was_interrupted_continues(extracted, photographs, extractor, tmp_path, after):
    kill(photographs, tmp_path, extractor, after)
    assert [path.name for path in tmp_path.iterdir()] == [".partial-test"], "nothing half-written"
    # Killed while it wrote: rows that nobody counts, and a draft.
    with open(tmp_path / ".partial-test/test_ims.npy", "ab") as file:
        file.write(b"half a row")
    again = Extraction(photographs, "test", tmp_path, extractor)
    assert again.done == 64 * after
    again.run()
    assert content(tmp_path) == content(extracted[1])


def test_killed_while_files_move(extracted, photographs, extractor, tmp_path, monkeypatch):
    moved = []

    def replace(source, target):
        if str(target).startswith(str(tmp_path / "test_")):
            moved.append(target)
            if len(moved) == 3:
                raise Killed
        rename(source, target)

    rename = os.replace
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        with pytest.raises(Killed):
            extract(photographs, tmp_path, extractor)
    assert not (tmp_path / "test_ims.npy").exists()
    extract(photographs, tmp_path, extractor)
    assert content(tmp_path) == content(extracted[1])
    assert not (tmp_path / ".partial-test").exists()


def test_a_full_disk_names_the_split(photographs, extractor, tmp_path, monkeypatch):
    monkeypatch.setattr(
        RowFile, "append", lambda file, rows: os.write(os.open("/dev/full", 1), b"a")
    )
    with pytest.raises(OSError, match="No space left on device: '.*/data/test_ims.npy'"):
        extract(photographs, tmp_path / "data", extractor)


def test_one_process_at_a_time(photographs, extractor, tmp_path):
    first = Extraction(photographs, "test", tmp_path, extractor)
    with pytest.raises(BlockingIOError, match="partial-test: another process works in it"):
        Extraction(photographs, "test", tmp_path, extractor)
    Extraction(photographs, "dev", tmp_path, extractor)
    first.run()
    assert (tmp_path / "test_ims.npy").exists()


def test_other_settings_do_not_continue(photographs, extractor, tiny_backbone, tmp_path):
    kill(photographs, tmp_path, extractor)
    larger = RegionExtractor(ExtractionConfig(str(tiny_backbone), size=96))
    for other in ((photographs, larger), (photographs[:-1], extractor)):
        with pytest.raises(DataError, match="plan.json: the extraction was started with other"):
            Extraction(other[0], "test", tmp_path, other[1])
    extract(photographs[:70], tmp_path, larger, overwrite=True)
    dataset = load_dataset(tmp_path, "test", captions_optional=True)
    assert dataset.num_images == 70 and dataset.extraction["size"] == 96


def test_a_split_is_replaced_only_on_request(photographs, extractor, tmp_path):
    extract(photographs[-5:], tmp_path, extractor)
    before = content(tmp_path)
    assert "test_skipped.txt" in before
    with pytest.raises(DataError, match="test_ims.npy exists already"):
        extract(photographs[:3], tmp_path, extractor)
    assert content(tmp_path) == before
    extract(photographs[:3], tmp_path, extractor, overwrite=True)
    after = content(tmp_path)
    assert "test_skipped.txt" not in after
    assert after["test_ids.txt"] == b"000.jpg\n001.png\n002.webp\n"


def test_splits_of_a_folder_are_made_alike(photographs, extractor, tiny_backbone, tmp_path):
    extract(photographs[:3], tmp_path, extractor)
    larger = RegionExtractor(ExtractionConfig(str(tiny_backbone), size=96))
    with pytest.raises(
        ValueError, match="test_features.json: .* with size 64, those of .* size 96"
    ):
        Extraction(photographs[:3], "dev", tmp_path, larger)


def test_captions_of_skipped_photographs_are_left_out(photographs, extractor, tmp_path):
    some = [photographs[0], photographs[-1], photographs[1]]
    captioned = [
        Photograph(one.id, one.path, tuple(f"{one.id} {n}" for n in range(count)))
        for one, count in zip(some, (2, 4, 3), strict=True)
    ]
    extract(captioned, tmp_path, extractor)
    dataset = load_dataset(tmp_path, "test")
    assert dataset.image_ids == ["000.jpg", "001.png"]
    assert dataset.captions == ["000.jpg 0", "000.jpg 1", "001.png 0", "001.png 1", "001.png 2"]
    np.testing.assert_array_equal(dataset.caption_to_image, [0, 0, 1, 1, 1])


def test_no_photograph_can_be_read(photographs, extractor, tmp_path):
    with pytest.raises(DataError, match="no photograph has features; gone.jpg: No such file"):
        extract(photographs[-1:], tmp_path, extractor)
    assert not list(tmp_path.glob("test_*"))


def test_float16(photographs, extractor, extracted, tmp_path):
    extract(photographs, tmp_path, extractor, dtype="float16")
    small = np.load(tmp_path / "test_ims.npy")
    assert small.dtype == np.float16
    np.testing.assert_array_equal(small, np.load(extracted[1] / "test_ims.npy").astype(np.float16))


def test_a_damaged_state_is_named(photographs, extractor, tmp_path):
    kill(photographs, tmp_path, extractor)
    (tmp_path / ".partial-test/test_ims.npy").write_bytes(b"short")
    with pytest.raises(OSError, match="test_ims.npy has 5 bytes, expected .* for .* rows"):
        extract(photographs, tmp_path, extractor)
    (tmp_path / ".partial-test/state.json").write_text("{")
    with pytest.raises(DataError, match="state.json is not JSON"):
        extract(photographs, tmp_path, extractor)


@pytest.mark.parametrize(
    "values, error",
    [
        ([1], r"here: \[1\], expected the settings of the features: backbone"),
        ({"size": 3}, "expected the settings of the features"),
        ({"max_regions": "36"}, "here: `max_regions` must be int"),
        ({"fill": 1}, "here: `fill` must be bool"),
        ({"size": 8}, "here: size is at least 32"),
    ],
)
def test_what_is_no_configuration(values, error):
    if isinstance(values, dict) and values != {"size": 3}:
        values = ExtractionConfig().to_dict() | values
    with pytest.raises(DataError, match=error):
        ExtractionConfig.from_dict(values, "here")


def test_convert_keeps_how_features_were_made(extracted, tmp_path):
    _, source = extracted
    convert(source, tmp_path / "all.h5", images_alone=True, progress=False)
    convert(tmp_path / "all.h5", tmp_path / "back", images_alone=True, progress=False)
    settings = json.loads((source / "test_features.json").read_text())
    for place in ("all.h5", "back"):
        dataset = load_dataset(tmp_path / place, "test", captions_optional=True)
        assert dataset.extraction == settings


def test_a_link_is_not_worked_in(photographs, extractor, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/.partial-test").symlink_to(elsewhere)
    with pytest.raises(DataError, match="partial-test is a link"):
        extract(photographs, tmp_path / "data", extractor)
    assert not list(elsewhere.iterdir())


def test_features_that_float16_cannot_hold(photographs, tmp_path):
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, keras.layers.AveragePooling2D(8)(inputs * 1000))
    network.save(tmp_path / "large.keras")
    large = RegionExtractor(ExtractionConfig(str(tmp_path / "large.keras"), size=64))
    with pytest.raises(DataError, match="features as large as .*, which float16 cannot hold"):
        extract(photographs[:3], tmp_path / "data", large, dtype="float16")
    assert not list((tmp_path / "data").glob("test_*"))
    extract(photographs[:3], tmp_path / "data", large, overwrite=True)
    assert np.isfinite(np.load(tmp_path / "data/test_ims.npy")).all()
