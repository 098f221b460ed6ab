"""Recall reports as a table for people."""

from collections.abc import Mapping

import numpy as np
from rich import box
from rich.table import Table

from hslm_tf.evaluation.ranks import RecallReport

_COLUMNS = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "median_rank": "median", "mean_rank": "mean"}


def report_table(
    reports: Mapping[str, RecallReport], title: str | None = None, mean: bool = False
) -> Table:
    """Two lines a report: R@1, R@5, R@10, median and mean rank of each direction, and rsum.

    `i2t` are images looking for captions, `t2i` captions looking for images.

    Args:
        reports: from the name of a run to its report.
        title: title above the table.
        mean: whether to close with mean and sample standard deviation over the reports; a single
            report has no deviation and gets no such lines.

    Returns:
        A table for `print_table`.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("", no_wrap=True)
    for heading in (*_COLUMNS.values(), "rsum"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = {name: report.as_dict() for name, report in reports.items()}
    for name, numbers in rows.items():
        _add_rows(table, name, {key: f"{value:.1f}" for key, value in numbers.items()})
    if mean and len(rows) > 1:
        values = np.array([list(numbers.values()) for numbers in rows.values()])
        summary = zip(values.mean(axis=0), values.std(axis=0, ddof=1), strict=True)
        cells = [f"{center:.1f}±{deviation:.1f}" for center, deviation in summary]
        _add_rows(table, "mean", dict(zip(next(iter(rows.values())), cells, strict=True)))
    return table


def comparison_table(
    name: str, approximate: RecallReport, exact: RecallReport, title: str | None = None
) -> Table:
    """An approximate report above the exact one, and what it adds to it."""
    table = report_table({name: approximate, "exact": exact}, title)
    numbers = exact.as_dict()
    differences = {key: value - numbers[key] for key, value in approximate.as_dict().items()}
    _add_rows(table, "difference", {key: f"{value:+.1f}" for key, value in differences.items()})
    return table


def _add_rows(table: Table, name: str, cells: Mapping[str, str]) -> None:
    i2t, t2i = ([cells[f"{side}_{column}"] for column in _COLUMNS] for side in ("i2t", "t2i"))
    table.add_row(name, "i2t", *i2t)
    table.add_row("", "t2i", *t2i, cells["rsum"], end_section=True)
