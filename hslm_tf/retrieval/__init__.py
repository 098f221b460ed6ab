"""Ranks, recall and the field's protocols over exact scores, and search over a collection.

What needs TensorFlow, such as `Collection`, is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hslm_tf.retrieval.protocols import Protocol, evaluate_scores, fold_report
from hslm_tf.retrieval.ranks import (
    DirectionReport,
    RecallReport,
    mean_report,
    recall_report,
)
from hslm_tf.retrieval.streaming_ranks import StreamingRanks
from hslm_tf.retrieval.table import report_table

if TYPE_CHECKING:
    from hslm_tf.retrieval.caption_encodings import CaptionEncodings as CaptionEncodings
    from hslm_tf.retrieval.collection import Collection as Collection
    from hslm_tf.retrieval.image_encodings import ImageEncodings as ImageEncodings
    from hslm_tf.retrieval.shortlist import Shortlist as Shortlist
    from hslm_tf.retrieval.shortlist import load_shortlist as load_shortlist
    from hslm_tf.retrieval.two_stages import Hit as Hit

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

_MODULES = {
    "CaptionEncodings": "caption_encodings",
    "Collection": "collection",
    "Hit": "two_stages",
    "ImageEncodings": "image_encodings",
    "Shortlist": "shortlist",
    "load_shortlist": "shortlist",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
