"""Ranks, recall and the field's protocols over exact scores.

Scoring itself is in `hslm_tf.retrieval.scoring` and the evaluation of models in
`hslm_tf.retrieval.evaluation`, which import TensorFlow.
"""

from hslm_tf.retrieval.protocols import Protocol, evaluate_scores, fold_report
from hslm_tf.retrieval.ranks import (
    DirectionReport,
    RecallReport,
    mean_report,
    recall_report,
)
from hslm_tf.retrieval.streaming_ranks import StreamingRanks
from hslm_tf.retrieval.table import report_table

__all__ = [
    "DirectionReport",
    "Protocol",
    "RecallReport",
    "StreamingRanks",
    "evaluate_scores",
    "fold_report",
    "mean_report",
    "recall_report",
    "report_table",
]
