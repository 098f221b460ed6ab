"""The one interface of all readers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.options import ReadOptions
from hslm_tf.data.stores.store import Store


@dataclass(frozen=True)
class Reader:
    """Reads the splits of one format.

    Args:
        name: the format.
        recognised_by: what a path of this format is or holds, in words.
        splits: the splits at a path, each with what it was recognised by; none where the path is of
            another format.
        load: opens a split that `splits` found.
        store: opens the region features of a split where they are a format of their own.
    """

    name: str
    recognised_by: str
    splits: Callable[[Path, ReadOptions], Mapping[str, str]]
    load: Callable[[Path, str, ReadOptions], RetrievalDataset]
    store: Callable[[Path, str, ReadOptions], Store] | None = None
