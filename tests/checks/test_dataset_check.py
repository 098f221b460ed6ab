import numpy as np
import pytest
from rich.console import Console

from hslm_tf.checks.dataset_check import check_dataset
from hslm_tf.checks.tables import report_tables
from hslm_tf.config import DataConfig
from tests.data.split_files import captions_of, write_split


@pytest.fixture
def folder(tmp_path):
    ims = np.random.default_rng(1).normal(size=(3, 6, 4, 3)).astype(np.float32)
    for number, split in enumerate(("train", "dev", "test")):
        captions = [f"{split} {caption}" for caption in captions_of()]
        ids = [f"{split}_{image}.jpg" for image in range(6)]
        write_split(tmp_path, split, ims=ims[number], caps=captions, ids=ids)
    return tmp_path


def kinds(report, split):
    return {finding.kind for finding in report.findings if finding.split == split}


def test_splits_that_share(folder):
    regions = np.load(folder / "train_ims.npy")
    dev = np.load(folder / "dev_ims.npy")
    dev[4] = regions[1]
    captions = [f"other {caption}" for caption in captions_of()]
    captions[7] = f"TRAIN  {captions_of()[2]}"
    ids = ["a", "b", "train_5.jpg", "d", "train_0.jpg", "f"]
    counts = np.array([4, 1, 2, 3, 1, 2])
    write_split(folder, "dev", ims=dev, caps=captions, ids=ids, num_regions=counts)
    report = check_dataset(folder, progress=False)
    overlap = report.overlaps[0]
    assert (overlap.split, overlap.other) == ("dev", "train")
    assert overlap.captions.count == 1
    assert overlap.captions.first == f"caption 7 {captions[7]!r}, as caption 2"
    assert (overlap.ids.count, overlap.ids.first) == (2, "image 'train_5.jpg'")
    assert overlap.images.count == 1
    assert overlap.images.first == (
        f"{folder}/dev_ims.npy, row 4, as {folder}/train_ims.npy, row 1"
    )
    assert {"shared_ids", "shared_images", "shared_captions"} <= kinds(report, "dev")
    assert not report.errors
    for other in report.overlaps[1:]:
        assert (other.captions.count, other.ids.count, other.images.count) == (0, 0, 0)


def test_every_broken_split_is_a_finding_and_the_others_are_read(folder):
    (folder / "dev_ims.npy").write_bytes(b"nothing")
    (folder / "test_caps.txt").unlink()
    report = check_dataset(folder, progress=False)
    assert [(finding.split, finding.kind) for finding in report.errors] == [
        ("dev", "split_refused"),
        ("test", "split_refused"),
    ]
    assert list(report.splits) == ["train", "test"]
    assert report.splits["test"].captions is None
    assert report.splits["test"].features.regions == 16
    named = DataConfig(dev_split="test", test_split="dev")
    assert [each.split for each in check_dataset(folder, data=named, progress=False).errors] == [
        "test",
        "dev",
    ]


def test_images_alone_may_lie_beside(folder):
    write_split(folder, "extra", ims=np.ones((2, 4, 5), np.float32), full=False)
    (folder / "extra_caps.txt").unlink()
    report = check_dataset(folder, progress=False)
    assert not report.errors and report.splits["extra"].captions is None
    assert "other_width" in kinds(report, "extra")


def test_the_vocabulary(folder, tmp_path):
    report = check_dataset(folder, data=DataConfig(min_count=5), progress=False)
    counts = report.splits["train"].captions
    assert report.vocabulary == "words that occur at least 5 times in train"
    # "train", "image", "caption", the dash, "café", six numbers.
    assert report.vocabulary_size == 11
    assert counts.unknown.share == 0 and report.splits["dev"].captions.unknown.distinct == 1
    without = check_dataset(folder, splits=["dev"], progress=False)
    assert without.vocabulary is None and without.splits["dev"].captions.unknown is None


def shown(report):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))
    for table in report_tables(report):
        console.print(table)
    return console.export_text()


def test_tables(folder):
    (folder / "dev_caps.txt").unlink()
    (folder / "dev_boxes.npy").unlink()
    (folder / "test_ims.npy").rename(folder / "[red]\x1b_ims.npy")
    for part in ("caps", "ids"):
        (folder / f"test_{part}.txt").rename(folder / f"[red]\x1b_{part}.txt")
    text = shown(check_dataset(folder, progress=False))
    rows = {line[:30].strip(): line[30:].split() for line in text.splitlines()}
    assert "[red]�" in text and "\x1b" not in text
    assert rows["images"] == ["6", "6", "6"]
    assert rows["captions"] == ["30", "-", "30"]
    assert rows["boxes"] == ["parts", "-", "-"]


@pytest.mark.parametrize("patience, said", [(0.0, True), (1e9, False)])
def test_where_there_is_no_terminal_lines_say_how_far_it_is(
    folder, monkeypatch, caplog, patience, said
):
    caplog.set_level("INFO", "hslm_tf")
    monkeypatch.setattr("hslm_tf.data.progress.PATIENCE_SECONDS", patience)
    check_dataset(folder)
    assert ("train: 6 of 18 images" in caplog.text) == said
    caplog.clear()
    check_dataset(folder, progress=False)
    assert not caplog.text


def test_tables_of_nothing(folder):
    for path in folder.glob("*_ims.npy"):
        path.write_bytes(b"nothing")
    report = check_dataset(folder, progress=False)
    assert len(report.errors) == 3 and report_tables(report) == []
