"""The runs of an ablation beside the paper's Table 4."""

from collections.abc import Sequence

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.report.ablation_tables import ablation_table, ordering_table
from hslm_tf.report.measured_run import MeasuredRun
from hslm_tf.report.section import Section, plain_section


def ablation_section(runs: Sequence[MeasuredRun], dataset: RetrievalDataset) -> Section | None:
    """Shows the rows, their rsums in the paper, and which of its orderings hold."""
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
