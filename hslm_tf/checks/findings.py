"""Turns the report on a split, and on what two splits share, into findings."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from hslm_tf.checks.finding import Finding, Severity
from hslm_tf.checks.region_scan import FeatureReport
from hslm_tf.checks.report import Overlap, SplitReport

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
# By the kind of the finding: the field that counts it, what is counted, and what is expected.
_Counted = dict[str, tuple[str, str, str | None]]
_STOPPING: _Counted = {
    "unreadable_images": ("unreadable", "images that cannot be read", None),
    "non_finite_features": ("non_finite", "regions with NaN or infinity", "finite numbers"),
}
_FEATURES: _Counted = {
    "zero_images": ("zero_images", "images of zeros alone", "features of what is seen"),
    "zero_regions": (
        "zero_regions",
        "regions of zeros",
        "features; num_regions says which regions are padding",
    ),
    "repeated_images": (
        "repeated_images",
        "images with the features of an earlier one",
        "every image once",
    ),
    "repeated_regions": (
        "repeated_regions",
        "regions with the features of an earlier one",
        "different ones",
    ),
}
_CAPTIONS: _Counted = {
    "empty_captions": ("empty", "captions without a letter or a digit", "sentences"),
    "repeated_captions": (
        "repeated",
        "captions with the words of an earlier one",
        "different ones",
    ),
    "long_captions": (
        "too_long",
        "captions that training truncates",
        "{max_tokens} tokens at most, <start> and <end> included (--max-tokens)",
    ),
}
_UNKNOWN: _Counted = {
    "unknown_captions": (
        "whole_captions",
        "captions of unknown words alone",
        "words of the vocabulary",
    ),
}
_BOXES: _Counted = {
    "unreadable_boxes": ("unreadable", "images whose boxes cannot be read", None),
    "non_finite_boxes": ("non_finite", "boxes with NaN or infinity", "finite numbers"),
    "empty_boxes": ("empty", "empty boxes", "x0 < x1 and y0 < y1"),
    "boxes_outside": ("outside", "boxes that leave the image", "{whole}"),
}
_SHARED = "splits that share nothing"
_OVERLAPS: _Counted = {
    "shared_ids": ("ids", "images with the id of one of {other}", _SHARED),
    "shared_images": ("images", "images with the features of one of {other}", _SHARED),
    "shared_captions": ("captions", "captions with the words of one of {other}", _SHARED),
}


def split_findings(
    split: str, report: SplitReport, stops: Severity, max_tokens: int
) -> Iterator[Finding]:
    """Lists what is odd in a split; `stops` is the severity of what makes it useless."""
    yield from _counted(split, report.features, _STOPPING, severity=stops)
    yield from _counted(split, report.features, _FEATURES)
    yield from _column_findings(split, report.features)
    if report.captions is not None:
        yield from _counted(split, report.captions, _CAPTIONS, max_tokens=max_tokens)
        if report.captions.unknown is not None:
            yield from _counted(split, report.captions.unknown, _UNKNOWN)
    if report.boxes is not None:
        whole = "pixels from 0" if report.boxes.in_pixels else "parts of the image, 0 to 1"
        yield from _counted(split, report.boxes, _BOXES, whole=whole)


def overlap_findings(overlap: Overlap) -> Iterator[Finding]:
    """Lists what two splits share, as findings of the later one."""
    yield from _counted(overlap.split, overlap, _OVERLAPS, other=overlap.other)


def _counted(
    split: str, report: Any, kinds: _Counted, severity: Severity = "warning", **names: object
) -> Iterator[Finding]:
    for kind, (counter, what, expected) in kinds.items():
        seen = getattr(report, counter)
        if seen.count:
            message = f"{what.format(**names)}: {seen.count:,}, the first is {seen.first}"
            message += f"; expected {expected.format(**names)}" if expected else ""
            yield Finding(severity, kind, split, message)


def _column_findings(split: str, report: FeatureReport) -> Iterator[Finding]:
    columns = report.columns
    constant = columns.constant
    if len(constant):
        message = (
            f"{len(constant):,} of {report.region_dim:,} columns hold one value, such as column "
            f"{constant[0]}: {columns.smallest[constant[0]]:g}; expected numbers that tell "
            "regions apart"
        )
        yield Finding("warning", "constant_columns", split, message)
    column = columns.by_magnitude[0]
    largest = max(columns.smallest[column], columns.largest[column], key=abs)
    if abs(largest) > _LARGEST_FLOAT16:
        message = (
            f"column {column} reaches {largest:g}, more than the {_LARGEST_FLOAT16:g} that "
            "float16 can hold: `convert --dtype float16` would refuse it"
        )
        yield Finding("warning", "too_large_for_float16", split, message)
