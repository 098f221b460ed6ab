import tracemalloc

import numpy as np
import pytest

from hslm_tf.checks.feature_scan import FeatureScan
from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.blocks import image_blocks, row_blocks
from hslm_tf.data.dataset import RetrievalDataset
from tests.data.split_files import write_sparse_array


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


def scan_of(dataset, size=3):
    scan = FeatureScan(dataset)
    for images in row_blocks(dataset.num_images, size):
        scan.add(images)
    return scan


def numbers(shape=(7, 4, 3)):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_is_counted(size):
    regions = numbers()
    regions[1, 2, 1] = np.nan
    regions[5, 0], regions[5, 1, 2] = np.inf, -np.inf
    regions[2], regions[3, 1] = 0, 0
    regions[4, 3] = regions[0, 1]
    regions[6] = regions[0]
    report = scan_of(dataset_of(regions), size).report()
    assert (report.images, report.regions, report.region_dim) == (7, 28, 3)
    assert report.non_finite.count == 3
    assert report.non_finite.first == "FILE, row 1, region 2: nan in column 1"
    assert (report.zero_regions.count, report.zero_images.count) == (5, 1)
    assert report.zero_regions.first == "FILE, row 2, region 0"
    assert report.zero_images.first == "FILE, row 2"
    assert report.repeated_regions.count == 5
    assert report.repeated_regions.first == "FILE, row 4, region 3, as FILE, row 0, region 1"
    assert (report.repeated_images.count, report.repeated_images.first) == (
        1,
        "FILE, row 6, as FILE, row 0",
    )
    finite = np.where(np.isfinite(regions), regions, np.nan).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(report.columns.mean, np.nanmean(finite, axis=0))


def test_padding_does_not_count():
    regions = numbers()
    counts = [4, 1, 2, 3, 4, 2, 1]
    for image, count in enumerate(counts):
        regions[image, count:] = np.nan
    regions[6, 0] = 0
    dataset = dataset_of(regions, counts)
    report = scan_of(dataset).report()
    assert (report.regions, report.min_regions, report.max_regions) == (17, 1, 4)
    assert (report.non_finite.count, report.zero_regions.count, report.zero_images.count) == (
        *(0, 1, 1),
    )
    real = regions[dataset.region_mask(np.arange(7))]
    np.testing.assert_array_equal(report.columns.largest, real.max(axis=0))


def test_only_the_first_row_of_an_image_is_read():
    regions = np.repeat(numbers(), 5, axis=0)
    regions[1] = np.nan
    scan = scan_of(dataset_of(regions, rows=np.arange(0, 35, 5)))
    report = scan.report()
    assert (report.images, report.non_finite.count, report.repeated_images.count) == (7, 0, 0)
    assert scan.image_digests().items.tolist() == list(range(7))


def test_float64_counts_as_training_would_read_it():
    regions = numbers().astype(np.float64)
    regions[3, 2, 0] = 1e300
    report = scan_of(dataset_of(regions)).report()
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


def test_others_are_read_where_some_cannot_be():
    scan = scan_of(dataset_of(Broken(numbers(), {1, 5})))
    report = scan.report()
    assert (report.regions, report.unreadable.count) == (20, 2)
    assert report.unreadable.first == "image 1: FILE, rows [1] are damaged"
    assert scan.image_digests().items.tolist() == [0, 2, 3, 4, 6]
    nothing = scan_of(dataset_of(Broken(numbers(), set(range(7))))).report()
    assert (nothing.regions, nothing.unreadable.count) == (0, 7)


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for images in (100, 400):
        write_sparse_array(tmp_path / "train_ims.npy", (images, 36, 2048))
        captions = "".join(f"{image}\n" for image in range(images))
        (tmp_path / "train_caps.txt").write_text(captions)
        dataset = load_dataset(tmp_path, "train", layout="per_image")
        tracemalloc.start()
        scan = FeatureScan(dataset)
        for block in image_blocks(dataset):
            scan.add(block)
        assert scan.report().zero_images.count == images
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 300 images more are 88 MB on disk, and 16 bytes for each of 10,800 regions in memory.
    assert peaks[1] - peaks[0] < 4e6
