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
    from hslm_tf.retrieval.caption_encodings import CaptionEncodings
    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.retrieval.image_encodings import ImageEncodings
    from hslm_tf.retrieval.shortlist import Shortlist, load_shortlist
    from hslm_tf.retrieval.two_stages import Hit

__all__ = [
    "CaptionEncodings",
    "Collection",
    "DirectionReport",
    "Hit",
    "ImageEncodings",
    "Protocol",
    "RecallReport",
    "Shortlist",
    "StreamingRanks",
    "evaluate_scores",
    "fold_report",
    "load_shortlist",
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
