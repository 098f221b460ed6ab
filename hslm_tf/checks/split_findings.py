"""Findings that the owner of a split should know."""

from collections.abc import Iterator

import numpy as np

from hslm_tf.checks.box_scan import BoxReport
from hslm_tf.checks.caption_scan import CaptionReport
from hslm_tf.checks.feature_scan import FeatureReport
from hslm_tf.checks.finding import Finding, Severity
from hslm_tf.checks.occurrences import Occurrences
from hslm_tf.checks.overlap import Overlap

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def feature_findings(split: str, report: FeatureReport, stops: Severity) -> Iterator[Finding]:
    """Lists what the owner of the region features should know."""
    errors = {
        "unreadable_images": (report.unreadable, "images that cannot be read", None),
        "non_finite_features": (
            report.non_finite,
            "regions with NaN or infinity",
            "finite numbers",
        ),
    }
    warnings = {
        "zero_images": (report.zero_images, "images of zeros alone", "features of what is seen"),
        "zero_regions": (
            report.zero_regions,
            "regions of zeros",
            "features, and padding that num_regions tells",
        ),
        "repeated_images": (
            report.repeated_images,
            "images with the features of an earlier one",
            "every image once",
        ),
        "repeated_regions": (
            report.repeated_regions,
            "regions with the features of an earlier one",
            "different ones",
        ),
    }
    yield from _of(split, stops, errors)
    yield from _of(split, "warning", warnings)
    constant = report.columns.constant
    if len(constant):
        yield Finding(
            "warning",
            "constant_columns",
            split,
            f"{len(constant):,} of {report.region_dim:,} columns hold one value, such as column "
            f"{constant[0]}: {report.columns.smallest[constant[0]]:g}; expected numbers that tell "
            "regions apart",
        )
    column = report.columns.by_magnitude[0]
    ends = report.columns.smallest[column], report.columns.largest[column]
    largest = max(ends, key=abs)
    if abs(largest) > _LARGEST_FLOAT16:
        yield Finding(
            "warning",
            "too_large_for_float16",
            split,
            f"column {column} reaches {largest:g}, more than the {_LARGEST_FLOAT16:g} that "
            "float16 can hold: `convert --dtype float16` would refuse it",
        )


def caption_findings(split: str, report: CaptionReport, max_tokens: int) -> Iterator[Finding]:
    """Tells what of the captions its owner should know."""
    warnings = {
        "empty_captions": (report.empty, "captions without a letter or a digit", "sentences"),
        "repeated_captions": (
            report.repeated,
            "captions with the words of an earlier one",
            "different ones",
        ),
        "long_captions": (
            report.too_long,
            "captions that training truncates",
            f"{max_tokens} tokens at most, <start> and <end> included (--max-tokens)",
        ),
    }
    if report.unknown is not None:
        warnings["unknown_captions"] = (
            report.unknown.whole_captions,
            "captions of unknown words alone",
            "words of the vocabulary",
        )
    yield from _of(split, "warning", warnings)


def box_findings(split: str, report: BoxReport) -> Iterator[Finding]:
    """Tells what of the boxes its owner should know; training does not read them."""
    whole = "pixels from 0" if report.in_pixels else "parts of the image, 0 to 1"
    yield from _of(
        split,
        "warning",
        {
            "unreadable_boxes": (report.unreadable, "images whose boxes cannot be read", None),
            "non_finite_boxes": (
                report.non_finite,
                "boxes with NaN or infinity",
                "finite numbers",
            ),
            "empty_boxes": (report.empty, "empty boxes", "x0 < x1 and y0 < y1"),
            "boxes_outside": (report.outside, "boxes that leave the image", whole),
        },
    )


def overlap_findings(overlap: Overlap) -> Iterator[Finding]:
    """Tells what two splits share."""
    other, expected = overlap.other, "splits that share nothing"
    yield from _of(
        overlap.split,
        "warning",
        {
            "shared_ids": (overlap.ids, f"images with the id of one of {other}", expected),
            "shared_images": (
                overlap.images,
                f"images with the features of one of {other}",
                expected,
            ),
            "shared_captions": (
                overlap.captions,
                f"captions with the words of one of {other}",
                expected,
            ),
        },
    )


def _of(
    split: str, severity: Severity, seen: dict[str, tuple[Occurrences, str, str | None]]
) -> Iterator[Finding]:
    for kind, (occurrences, what, expected) in seen.items():
        if occurrences.count:
            message = f"{what}: {occurrences.count:,}, the first is {occurrences.first}"
            message += "" if expected is None else f"; expected {expected}"
            yield Finding(severity, kind, split, message)
