"""A report on a data set as tables for people."""

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from hslm_tf.checks.caption_scan import CaptionReport
from hslm_tf.checks.finding import Occurrences
from hslm_tf.checks.region_scan import BoxReport, FeatureReport
from hslm_tf.checks.report import DatasetReport, SplitReport
from hslm_tf.command_line import printable

_COLUMNS_SHOWN = 3
# Bins of the histogram of lengths, at most, and the length of its longest bar.
_BINS, _BAR = 12, 30


def report_tables(report: DatasetReport) -> list[Table]:
    """Makes the tables of a report."""
    if not report.splits:
        return []
    tables = [_splits(report), _columns(report)]
    if any(split.captions for split in report.splits.values()):
        tables.append(_lengths(report))
    if report.overlaps:
        tables.append(_overlaps(report))
    return tables


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(_name(heading), justify="right" if number else "left", no_wrap=True)
    return table


def _splits(report: DatasetReport) -> Table:
    table = _table("What the splits hold", ["", *report.splits])
    splits = report.splits.values()
    for cells in (
        [_sizes(split) for split in splits],
        [_features(split.features) for split in splits],
        [_captions(split.captions, report.max_tokens) for split in splits],
        [_boxes(split.boxes) for split in splits],
    ):
        for name in dict.fromkeys(name for each in cells for name in each):
            table.add_row(name, *(each.get(name, "-") for each in cells))
        table.add_section()
    return table


def _sizes(split: SplitReport) -> dict[str, str]:
    cells = {"images": f"{split.features.images:,}"}
    if split.captions is not None:
        cells["captions"] = f"{split.captions.captions:,}"
        cells["captions an image"] = _range(split.captions.fewest, split.captions.most)
    return cells


def _features(report: FeatureReport) -> dict[str, str]:
    overall = report.columns.overall()
    return {
        "features": report.dtype,
        "regions an image": _range(report.min_regions, report.max_regions),
        "columns": f"{report.region_dim:,}",
        "columns of one value": f"{len(report.columns.constant):,}",
        "smallest": _number(overall["smallest"]),
        "largest": _number(overall["largest"]),
        "mean": _number(overall["mean"]),
        "standard deviation": _number(overall["deviation"]),
        "zeros": _share(overall["zeros"]),
        "images that cannot be read": _count(report.unreadable),
        "regions with NaN or infinity": _count(report.non_finite),
        "images of zeros": _count(report.zero_images),
        "regions of zeros": _count(report.zero_regions),
        "images seen before": _count(report.repeated_images),
        "regions seen before": _count(report.repeated_regions),
    }


def _captions(report: CaptionReport | None, max_tokens: int) -> dict[str, str]:
    if report is None:
        return {}
    cells = {"words": f"{report.words:,}", "different words": f"{report.distinct_words:,}"}
    if report.unknown is not None:
        cells |= {
            "unknown words": _share(report.unknown.share),
            "different unknown words": f"{report.unknown.distinct:,}",
            "captions with unknown words": f"{report.unknown.captions:,}",
        }
    return cells | {
        "captions seen before": _count(report.repeated),
        "captions without a letter": _count(report.empty),
        f"captions over {max_tokens} tokens": _count(report.too_long),
    }


def _boxes(report: BoxReport | None) -> dict[str, str]:
    if report is None:
        return {}
    return {
        "boxes": "pixels" if report.in_pixels else "parts",
        "corners": f"{_number(report.smallest)} to {_number(report.largest)}",
        "boxes with NaN or infinity": _count(report.non_finite),
        "empty boxes": _count(report.empty),
        "boxes outside the image": _count(report.outside),
    }


def _columns(report: DatasetReport) -> Table:
    headings = ["", "column", "smallest", "largest", "mean", "std", "zeros"]
    table = _table("Columns with the largest values", headings)
    for name, split in report.splits.items():
        columns = split.features.columns
        measures = (columns.smallest, columns.largest, columns.mean, columns.deviation)
        for row, column in enumerate(columns.by_magnitude[:_COLUMNS_SHOWN]):
            numbers = [_number(measure[column]) for measure in measures]
            first = "" if row else _name(name)
            table.add_row(first, str(column), *numbers, _share(columns.zeros[column]))
        table.add_section()
    return table


def _lengths(report: DatasetReport) -> Table:
    captions = {name: split.captions for name, split in report.splits.items() if split.captions}
    longest = max(max(each.lengths) for each in captions.values())
    width = -(-longest // _BINS)
    edges = np.arange(1, longest + width + 1, width)
    table = _table("Captions by number of tokens, <start> and <end> included", ["", *captions, ""])
    table.columns[-1].justify = "left"
    shares = {}
    for name, each in captions.items():
        lengths, counts = np.array(list(each.lengths.items())).T
        shares[name] = np.histogram(lengths, edges, weights=counts)[0] / each.captions
    # Bars are of the first split, which is the one to train on.
    bars = next(iter(shares.values()))
    for row, first in enumerate(edges[:-1]):
        cells = [_share(share[row]) for share in shares.values()]
        bar = "█" * round(_BAR * bars[row] / bars.max())
        table.add_row(_range(int(first), int(first) + width - 1), *cells, bar)
    return table


def _overlaps(report: DatasetReport) -> Table:
    headings = ["", "captions", "images by id", "images by features"]
    table = _table("What two splits share", headings)
    for overlap in report.overlaps:
        table.add_row(
            _name(f"{overlap.split} of {overlap.other}"),
            *map(_count, (overlap.captions, overlap.ids, overlap.images)),
        )
    return table


def _name(split: str) -> str:
    # A split is named after a file, whose name may hold anything.
    return escape(printable(split))


def _count(seen: Occurrences) -> str:
    return f"{seen.count:,}"


def _range(smallest: int, largest: int) -> str:
    return f"{smallest}" if smallest == largest else f"{smallest} to {largest}"


def _number(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{100 * value:.2f}%"
