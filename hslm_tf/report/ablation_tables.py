"""The rows of the paper's Table 4 as trained here, beside what the paper reports."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich import box
from rich.table import Table

from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.report.table4 import ORDERINGS, TABLE_4

_RECALLS = tuple(f"{side}_r{k}" for side in ("i2t", "t2i") for k in (1, 5, 10))


def ablation_table(reports: Mapping[int, Sequence[RecallReport]], title: str) -> Table:
    """Table 4 with our recalls, the mean over the seeds, and the paper's rsum beside them.

    Args:
        reports: by row of Table 4, one report a seed.
        title: title above the table.

    Returns:
        A table for `print_table`.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("row", "MGCN", "Self", "Cross", "Glob", "Loc"):
        table.add_column(heading, justify="center", no_wrap=True)
    for heading in (
        *(f"{side} R@{k}" for side in ("i2t", "t2i") for k in (1, 5, 10)),
        "rsum",
        "paper",
    ):
        table.add_column(heading, justify="right")
    for row, found in sorted(reports.items()):
        numbers = [report.as_dict() for report in found]
        recalls = [f"{np.mean([n[name] for n in numbers]):.1f}" for name in _RECALLS]
        rsums = [report.rsum for report in found]
        rsum = f"{np.mean(rsums):.1f}"
        if len(rsums) > 1:
            rsum += f"±{np.std(rsums, ddof=1):.1f}"
        parts = ["x" if on else "" for on in ABLATION_PARTS[row].values()]
        table.add_row(str(row), *parts, *recalls, rsum, f"{TABLE_4[row].rsum:.1f}")
    return table


def ordering_table(reports: Mapping[int, Sequence[RecallReport]]) -> Table:
    """Which of the paper's orderings hold here, pair by pair.

    A pair holds if the mean rsum of its first row is higher. With several seeds a difference of
    less than two standard errors is marked with "~".

    Args:
        reports: by row of Table 4, one report a seed.

    Returns:
        A table for `rich.print`; claims without any pair of measured rows are left out.
    """
    table = Table(title="Orderings of Table 4", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("claim", "holds", "rsum: ours (paper)"):
        table.add_column(heading)
    for claim, pairs in ORDERINGS:
        measured = [pair for pair in pairs if set(pair) <= set(reports)]
        if not measured:
            continue
        differences = [_difference(reports, *pair) for pair in measured]
        held = sum(difference > 0 for difference, _ in differences)
        cells = [
            f"{better} > {worse}: {difference:+.1f}{'~' if unsure else ''} "
            f"({TABLE_4[better].rsum - TABLE_4[worse].rsum:+.1f})"
            for (better, worse), (difference, unsure) in zip(measured, differences, strict=True)
        ]
        table.add_row(claim, f"{held} of {len(measured)}", ", ".join(cells))
    return table


def _difference(
    reports: Mapping[int, Sequence[RecallReport]], better: int, worse: int
) -> tuple[float, bool]:
    """Difference of the mean rsums, and whether it lies within two standard errors of zero."""
    first, second = ([report.rsum for report in reports[row]] for row in (better, worse))
    difference = float(np.mean(first) - np.mean(second))
    if min(len(first), len(second)) < 2:
        return difference, False
    errors = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    return difference, abs(difference) < 2 * np.sqrt(sum(errors))
