"""The rows of the paper's Table 4 as trained here, beside the rsums of the paper."""

from collections.abc import Mapping, Sequence

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.pages import Section, plain_section
from hslm_tf.report.published import ORDERINGS, TABLE_4
from hslm_tf.report.recall_section import RECALL_COLUMNS, mean_cell, recalls_of
from hslm_tf.report.run_sections import MeasuredRun

_PARTS = ("MGCN", "Self", "Cross", "Glob", "Loc")


def ablation_section(runs: Sequence[MeasuredRun], dataset: RetrievalDataset) -> Section | None:
    """Shows the rows, their rsums in the paper, and the orderings that hold."""
    reports: dict[int, list[RecallReport]] = {}
    for run in runs:
        if run.row is None:
            return None
        reports.setdefault(run.row, []).append(run.recall)
    text = [
        "Every row is the mean over its seeds. The last column is the paper's rsum on Flickr30K's "
        "1,000 test images: on other data only the order of the rows can be compared. In the "
        "orderings, a difference within two standard errors of zero is marked with ~."
    ]
    title = f"Table 4 on {dataset.name}, {dataset.num_images} images"
    tables = [ablation_table(reports, title), ordering_table(reports)]
    return plain_section("table4", "Table 4", text, tables)


def ablation_table(reports: Mapping[int, Sequence[RecallReport]], title: str) -> DataTable:
    """Table 4 with our recalls, the mean over the seeds, and the paper's rsum beside them."""
    rows = []
    for row, of_row in sorted(reports.items()):
        parts = ["x" if on else "" for on in ABLATION_PARTS[row].values()]
        recalls = np.mean([recalls_of(report) for report in of_row], axis=0)
        rsum = mean_cell([report.rsum for report in of_row])
        cells = [str(row), *parts, *(f"{recall:.1f}" for recall in recalls), rsum]
        rows.append([*cells, f"{TABLE_4[row].rsum:.1f}"])
    columns = ("row", *_PARTS, *RECALL_COLUMNS, "rsum", "paper, Flickr30K")
    return DataTable("table4", title, columns, rows, text_columns=frozenset())


def ordering_table(reports: Mapping[int, Sequence[RecallReport]]) -> DataTable:
    """The orderings of the paper that hold here, pair by pair."""
    rows = []
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
        rows.append([claim, f"{held} of {len(measured)}", ", ".join(cells)])
    columns = ("claim", "holds", "rsum: ours (paper)")
    texts = frozenset({0, 1, 2})
    return DataTable("orderings", "Orderings of Table 4", columns, rows, text_columns=texts)


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
