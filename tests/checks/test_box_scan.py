import dataclasses

import numpy as np

from hslm_tf.checks.box_scan import BoxScan
from hslm_tf.data.blocks import row_blocks
from tests.tiny_split import tiny_split


def scan(boxes, num_regions=None):
    dataset = dataclasses.replace(
        tiny_split(), boxes=np.asarray(boxes, np.float32), num_regions=num_regions
    )
    found = BoxScan(dataset)
    for images in row_blocks(6, 2):
        found.add(images)
    return found.report()


def boxes_of_tiny_split():
    return tiny_split().boxes.copy()


def counts(report):
    return report.non_finite.count, report.empty.count, report.outside.count


def test_good_boxes():
    boxes = boxes_of_tiny_split()
    report = scan(boxes)
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
    report = scan(boxes)
    assert counts(report) == (1, 2, 2)
    assert report.non_finite.first.startswith("random, row 1, region 2: [nan, ")
    assert report.empty.first == "random, row 2, region 0: [0.5, 0.2, 0.5, 0.8]"
    assert report.outside.first == "random, row 4, region 1: [0.5, 0.5, 1.25, 1.0]"


def test_one_box_far_outside_makes_no_pixels():
    boxes = boxes_of_tiny_split()
    boxes[0, 0] = (0, 0, 640, 480)
    report = scan(boxes)
    assert not report.in_pixels and report.outside.count == 1


def test_boxes_in_pixels():
    boxes = boxes_of_tiny_split() * 640
    boxes[3, 3, 1] = -5
    report = scan(boxes)
    assert report.in_pixels and counts(report) == (0, 0, 1)


def test_padding_does_not_count():
    boxes = boxes_of_tiny_split()
    boxes[:, 3:] = np.nan
    assert counts(scan(boxes, np.full(6, 3))) == (0, 0, 0)
    assert counts(scan(boxes)) == (18, 0, 0)


def test_no_box_is_finite():
    report = scan(np.full((6, 6, 4), np.nan))
    assert report.non_finite.count == 36 and report.largest is None
