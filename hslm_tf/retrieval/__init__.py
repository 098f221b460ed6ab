"""Search: collections of encoded images and captions, and which of them answer a query.

TensorFlow is loaded with the first name that is used, not when the package is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import hslm_tf

hslm_tf.use_tensorflow()

if TYPE_CHECKING:
    from hslm_tf.retrieval.collection import Collection as Collection
    from hslm_tf.retrieval.encodings import CaptionEncodings as CaptionEncodings
    from hslm_tf.retrieval.encodings import ImageEncodings as ImageEncodings
    from hslm_tf.retrieval.projection_heads import ProjectionHeads as ProjectionHeads
    from hslm_tf.retrieval.reranking import Hit as Hit

_MODULES = {
    "CaptionEncodings": "encodings",
    "Collection": "collection",
    "Hit": "reranking",
    "ImageEncodings": "encodings",
    "ProjectionHeads": "projection_heads",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
