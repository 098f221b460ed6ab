"""Ranks, recall and the field's protocols over exact scores.

Scoring itself is in `hslm_tf.retrieval.scoring`, which imports TensorFlow.
"""

from hslm_tf.retrieval.protocols import Protocol, evaluate_scores, fold_report
from hslm_tf.retrieval.ranks import (
    DirectionReport,
    RecallReport,
    mean_report,
    recall_report,
)
from hslm_tf.retrieval.table import report_table

__all__ = [
    "DirectionReport",
    "Protocol",
    "RecallReport",
    "evaluate_scores",
    "fold_report",
    "mean_report",
    "recall_report",
    "report_table",
]
