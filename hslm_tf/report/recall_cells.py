"""Recalls as the cells of a table in the paper's layout."""

from collections.abc import Sequence

import numpy as np

from hslm_tf.evaluation.ranks import RecallReport

RECALL_COLUMNS = tuple(f"{side} R@{k}" for side in ("i2t", "t2i") for k in (1, 5, 10))


def recalls_of(report: RecallReport) -> list[float]:
    """The numbers of `RECALL_COLUMNS`."""
    return [recall for side in (report.i2t, report.t2i) for recall in (side.r1, side.r5, side.r10)]


def mean_cell(values: Sequence[float]) -> str:
    """Mean and, of several values, sample standard deviation."""
    deviation = f"±{np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{deviation}"
