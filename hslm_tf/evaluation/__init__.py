"""How good a model is: exact scores block by block, ranks, recall, the field's protocols.

Modules that compute scores, such as `hslm_tf.evaluation.exact_recall`, need TensorFlow; the names
below do not.
"""

from hslm_tf.evaluation.protocols import Protocol, evaluate_scores
from hslm_tf.evaluation.ranks import DirectionReport, RecallReport, mean_report, recall_report
from hslm_tf.evaluation.streaming_ranks import StreamingRanks, WatchedScores
from hslm_tf.evaluation.table import report_table

__all__ = [
    "DirectionReport",
    "Protocol",
    "RecallReport",
    "StreamingRanks",
    "WatchedScores",
    "evaluate_scores",
    "mean_report",
    "recall_report",
    "report_table",
]
