import dataclasses
import re
import tracemalloc

import numpy as np
import pytest

from hslm_tf.checks.region_scan import scan_boxes, scan_features
from hslm_tf.data import DataError, RetrievalDataset, load_dataset
from tests.data.split_files import write_sparse_array
from tests.tiny_split import tiny_split


@pytest.fixture(autouse=True, params=[1, 3, 100])
def images_in_a_block(request, monkeypatch):
    """Blocks of images of 4 x 3 features; those of `tiny_split` are larger, and so are smaller."""
    monkeypatch.setattr("hslm_tf.data.blocks._BLOCK_BYTES", request.param * 4 * 4 * 3)


def dataset_of(regions, num_regions=None, rows=None):
    images = regions.shape[0] if rows is None else len(rows)
    return RetrievalDataset(
        "train",
        "FILE",
        regions,
        [f"caption {image}" for image in range(images)],
        np.arange(images, dtype=np.int32),
        num_regions=None if num_regions is None else np.array(num_regions, np.int32),
        image_rows=rows,
    )


def scan(dataset):
    read = []
    report, images = scan_features(dataset, read.append)
    assert sum(read) == dataset.num_images
    return report, images.items.tolist()


def numbers(shape=(7, 4, 3)):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_rows_that_stand_twice_each():
    report, _ = scan(dataset_of(np.repeat(numbers((3, 4, 3)), 2, axis=0)))
    expected = "each row is taken for an image, and `python -m .* --layout per_caption` makes one"
    assert re.search(expected, report.repeated_images.expected)


def test_features():
    regions = numbers()
    regions[1, 2, 1] = np.nan
    regions[5, 0], regions[5, 1, 2] = np.inf, -np.inf
    regions[2], regions[3, 1] = 0, 0
    regions[4, 3] = regions[0, 1]
    regions[6] = regions[0]
    report, _ = scan(dataset_of(regions))
    assert (report.images, report.regions, report.region_dim) == (7, 28, 3)
    assert report.non_finite.count == 3
    assert report.non_finite.first == "FILE, row 1, region 2: nan in column 1"
    assert (report.zero_regions.count, report.zero_images.count) == (5, 1)
    assert report.zero_regions.first == "FILE, row 2, region 0"
    assert report.zero_images.first == "FILE, row 2"
    assert report.repeated_regions.count == 5
    assert report.repeated_regions.first == "FILE, row 4, region 3, as FILE, row 0, region 1"
    assert report.repeated_images.count == 1
    assert report.repeated_images.first == "FILE, row 6, as FILE, row 0"
    assert report.repeated_images.expected == "every image once"
    finite = np.where(np.isfinite(regions), regions, np.nan).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(report.columns.mean, np.nanmean(finite, axis=0))


def test_padding_does_not_count():
    regions = numbers()
    counts = [4, 1, 2, 3, 4, 2, 1]
    for image, count in enumerate(counts):
        regions[image, count:] = np.nan
    regions[6, 0] = 0
    dataset = dataset_of(regions, counts)
    report, _ = scan(dataset)
    assert (report.regions, report.min_regions, report.max_regions) == (17, 1, 4)
    assert report.non_finite.count == 0
    assert report.zero_regions.count == report.zero_images.count == 1
    real = regions[dataset.region_mask(np.arange(7))]
    np.testing.assert_array_equal(report.columns.largest, real.max(axis=0))


def test_only_the_first_row_of_an_image_is_read():
    regions = np.repeat(numbers(), 5, axis=0)
    regions[1] = np.nan
    report, images = scan(dataset_of(regions, rows=np.arange(0, 35, 5)))
    assert (report.images, report.non_finite.count, report.repeated_images.count) == (7, 0, 0)
    assert images == list(range(7))


def test_float64_counts_as_training_would_read_it():
    regions = numbers().astype(np.float64)
    regions[3, 2, 0] = 1e300
    report, _ = scan(dataset_of(regions))
    assert report.dtype == "float64"
    assert report.non_finite.first == "FILE, row 3, region 2: inf in column 0"


class Broken:
    """Rows some of which cannot be read."""

    def __init__(self, values, broken):
        self._values, self._broken = values, broken
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, rows):
        bad = self._broken.intersection(rows.tolist())
        if bad:
            raise DataError(f"FILE, rows {sorted(bad)} are damaged")
        return self._values[rows]


def test_others_are_read_where_some_images_cannot_be():
    report, images = scan(dataset_of(Broken(numbers(), {1, 5})))
    assert (report.regions, report.unreadable.count) == (20, 2)
    assert report.unreadable.first == "image 1: FILE, rows [1] are damaged"
    assert images == [0, 2, 3, 4, 6]
    report, _ = scan(dataset_of(Broken(numbers(), set(range(7)))))
    assert (report.regions, report.unreadable.count) == (0, 7)


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.undo()
    peaks = []
    for images in (100, 400):
        write_sparse_array(tmp_path / "train_ims.npy", (images, 36, 2048))
        captions = "".join(f"{image}\n" for image in range(images))
        (tmp_path / "train_caps.txt").write_text(captions)
        dataset = load_dataset(tmp_path, "train", layout="per_image")
        tracemalloc.start()
        report, _ = scan(dataset)
        assert report.zero_images.count == images
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 300 images more are 88 MB on disk, and 16 bytes for each of 10,800 regions in memory.
    assert peaks[1] - peaks[0] < 4e6


def boxes_of_tiny_split():
    return tiny_split().boxes.copy()


def report_on(boxes, num_regions=None):
    boxes = np.asarray(boxes, np.float32)
    return scan_boxes(dataclasses.replace(tiny_split(), boxes=boxes, num_regions=num_regions))


def counts(report):
    return report.non_finite.count, report.empty.count, report.outside.count


def test_good_boxes():
    boxes = boxes_of_tiny_split()
    report = report_on(boxes)
    assert counts(report) == (0, 0, 0) and not report.in_pixels
    assert (report.smallest, report.largest) == (boxes.min(), boxes.max())


def test_bad_boxes():
    boxes = boxes_of_tiny_split()
    boxes[1, 2, 0] = np.nan
    boxes[2, 0] = (0.5, 0.2, 0.5, 0.8)
    boxes[3, 4] = (0.5, 0.9, 0.8, 0.1)
    boxes[4, 1] = (0.5, 0.5, 1.25, 1.0)
    boxes[5, 5] = (-0.5, 0.5, 0.75, 1.0)
    boxes[5, 4] = (0.0, 0.0, 1.0005, 1.0)
    report = report_on(boxes)
    assert counts(report) == (1, 2, 2)
    assert report.non_finite.first.startswith("random, row 1, region 2: [nan, ")
    assert report.empty.first == "random, row 2, region 0: [0.5, 0.2, 0.5, 0.8]"
    assert report.outside.first == "random, row 4, region 1: [0.5, 0.5, 1.25, 1.0]"


def test_boxes_in_pixels():
    boxes = boxes_of_tiny_split()
    boxes[0, 0] = (0, 0, 640, 480)
    report = report_on(boxes)
    assert not report.in_pixels and report.outside.count == 1, "one large box makes no pixels"
    boxes = boxes_of_tiny_split() * 640
    boxes[3, 3, 1] = -5
    report = report_on(boxes)
    assert report.in_pixels and counts(report) == (0, 0, 1)


def test_boxes_of_padding_do_not_count():
    boxes = boxes_of_tiny_split()
    boxes[:, 3:] = np.nan
    assert counts(report_on(boxes, np.full(6, 3))) == (0, 0, 0)
    assert counts(report_on(boxes)) == (18, 0, 0)
    report = report_on(np.full((6, 6, 4), np.nan))
    assert report.non_finite.count == 36 and report.largest is None
