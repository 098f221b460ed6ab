"""The recalls of the runs in the layout of the paper's tables, beside published ones."""

from collections.abc import Sequence

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.protocols import Protocol
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.pages import Section, plain_section
from hslm_tf.report.published import (
    TABLE_4,
    PublishedRow,
    PublishedTable,
    published_table,
    table_beside,
)
from hslm_tf.report.run_sections import MeasuredRun

RECALL_COLUMNS = tuple(f"{side} R@{k}" for side in ("i2t", "t2i") for k in (1, 5, 10))
_LAYOUT = (
    "Recall in percent: i2t are images looking for captions, t2i captions looking for images; rsum "
    "is the sum, at most 600."
)
_ROW_12 = (
    f"HSLM has rsum {next(row.rsum for row in published_table(1).rows if row.method == 'HSLM')} on "
    f"Flickr30K in the paper's Table 1 and {TABLE_4[12].rsum} in row 12 of its Table 4, which has "
    "all parts, too. The paper gives no reason."
)
_OTHER_INPUTS = (
    "GRAN and DIME read captions with a pretrained BERT, DSRAN adds global image features of a "
    "ResNet152."
)


def recalls_of(report: RecallReport) -> list[float]:
    """The numbers of `RECALL_COLUMNS`."""
    return [recall for side in (report.i2t, report.t2i) for recall in (side.r1, side.r5, side.r10)]


def mean_cell(values: Sequence[float]) -> str:
    """Mean and, of several values, sample standard deviation."""
    deviation = f"±{np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{deviation}"


def recall_section(
    runs: Sequence[MeasuredRun], dataset: RetrievalDataset, protocol: Protocol
) -> Section:
    """Shows the recall of every run, and mean and sample deviation of several."""
    text, published = [_LAYOUT], None
    configs = [run.config.data for run in runs]
    if any(dataset.name in (data.train_split, data.dev_split) for data in configs):
        text.append(
            f"The runs learnt from the split {dataset.name!r} or chose the epoch by it: these "
            "recalls flatter. No published rows stand beside them."
        )
    elif published := table_beside(dataset, protocol):
        text.append(
            f"The runs are in bold, below the paper's Table {published.number}, which was measured "
            "on the same test split in the same way."
        )
    else:
        text.append(
            "No published rows stand beside them: this is not the test split of Flickr30K or COCO."
        )
    return plain_section("recall", "Recall", text, [_table(runs, dataset, protocol, published)])


def _table(
    runs: Sequence[MeasuredRun],
    dataset: RetrievalDataset,
    protocol: Protocol,
    published: PublishedTable | None,
) -> DataTable:
    title, note, rows = f"{dataset.name}, {dataset.num_images} images, protocol {protocol}", "", []
    if published:
        title, note = published.title, _note(published.rows)
        rows = [_published_cells(row) for row in published.rows]
    first = len(rows)
    rows += [[run.name, *map(mean_cell, _columns([run]))] for run in runs]
    # The rows of an ablation are different models, of which there is no mean.
    if len(runs) > 1 and any(run.row is None for run in runs):
        rows.append([f"mean of {len(runs)} runs", *map(mean_cell, _columns(runs))])
    columns, marked = ("method", *RECALL_COLUMNS, "rsum"), frozenset(range(first, len(rows)))
    return DataTable("recall", title, columns, rows, marked, note)


def _columns(runs: Sequence[MeasuredRun]) -> list[list[float]]:
    """Six recalls and rsum, each of all runs."""
    return np.transpose([[*recalls_of(run.recall), run.recall.rsum] for run in runs]).tolist()


def _published_cells(row: PublishedRow) -> list[str]:
    recalls = ["-" if recall is None else f"{recall:.1f}" for recall in row.recalls]
    method = "HSLM, as published" if row.method == "HSLM" else row.method
    return [method, *recalls, f"{row.rsum:.1f}{'†' if None in row.recalls else ''}"]


def _note(rows: Sequence[PublishedRow]) -> str:
    notes = [_ROW_12, _OTHER_INPUTS]
    for row in rows:
        recalls = [recall for recall in row.recalls if recall is not None]
        if len(recalls) < len(row.recalls):
            notes.append(
                f"† The rsum of {row.method} is the sum of {len(recalls)} recalls, not to be "
                "compared with the others."
            )
        # The difference is larger than rounding explains.
        if abs(sum(recalls) - row.rsum) > 0.15:
            notes.append(
                f"The recalls of {row.method} add up to {sum(recalls):.1f}, not to the rsum that "
                "the paper prints."
            )
    return " ".join(notes)
