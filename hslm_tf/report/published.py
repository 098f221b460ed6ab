"""The recalls of the paper's Tables 1 to 4, and the measurements that may stand beside them."""

import functools
import json
import re
from importlib import resources
from typing import NamedTuple

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.protocols import Protocol


class PublishedRow(NamedTuple):
    """A row of a table: a method, or a row of the ablation by its number."""

    method: str
    recalls: tuple[float | None, ...]
    rsum: float  # as printed, not always the sum of the recalls


class PublishedTable(NamedTuple):
    """A table of the paper."""

    number: int
    title: str
    rows: tuple[PublishedRow, ...]


@functools.cache
def published_table(number: int) -> PublishedTable:
    """Reads a table, 1 to 4."""
    file = resources.files("hslm_tf.report") / "published_recalls.json"
    table = json.loads(file.read_text("utf-8"))["tables"][str(number)]
    rows = (PublishedRow(row[0], tuple(row[1:-1]), row[-1]) for row in table["rows"])
    return PublishedTable(number, table["title"], tuple(rows))


# The parts of each row are in `hslm_tf.presets.ABLATION_PARTS`.
TABLE_4 = {int(row.method): row for row in published_table(4).rows}

# Claims of Table 4: the first row of each pair is better than the second.
ORDERINGS = (
    ("12 > 11 > 9 > 5 > 1", ((12, 11), (11, 9), (9, 5), (5, 1))),
    ("self-attention adds", ((2, 1), (4, 3), (6, 5), (8, 7), (10, 9), (12, 11))),
    ("MGCN adds", ((3, 1), (4, 2), (7, 5), (8, 6), (11, 9), (12, 10))),
    ("cross-attention and local add to global", ((9, 1), (10, 2), (11, 3), (12, 4))),
    ("global adds to local", ((9, 5), (10, 6), (11, 7), (12, 8))),
)


class _TestSplit(NamedTuple):
    """A benchmark's test split, recognised by its size and by captions in it."""

    images: int
    captions: range
    known: tuple[str, ...]
    tables: dict[Protocol, int]


# Sizes alone would take Flickr8k for Flickr30K, and COCO's dev split for its test split. A single
# caption would not tell the first two apart, which share photographs.
_TEST_SPLITS = (
    _TestSplit(
        images=1000,
        captions=range(5000, 5001),
        # The paper prints them in Figure 3.
        known=(
            "A man is sharpening a knife",
            "A man stands on boards on top of a huge ladder",
            "A man walks into a maroon building as a dog looks on",
        ),
        tables={"1k": 1, "all": 1},
    ),
    _TestSplit(
        images=5000,
        # Karpathy's split has 25,010; the field's files keep five for every image.
        captions=range(25000, 25011),
        known=("A man with a red helmet on a small moped on a dirt road",),
        tables={"coco-1k": 2, "5k": 3, "all": 3},
    ),
)


def table_beside(dataset: RetrievalDataset, protocol: Protocol) -> PublishedTable | None:
    """Finds the table that was measured on the same split in the same way."""
    for split in _TEST_SPLITS:
        if dataset.num_images == split.images and dataset.num_captions in split.captions:
            captions = {_words(caption) for caption in dataset.captions}
            if captions.issuperset(map(_words, split.known)):
                return published_table(split.tables[protocol])
    return None


def _words(caption: str) -> str:
    """The caption without case and punctuation, which releases of the data treat differently."""
    return " ".join(re.findall(r"\w+", caption.lower()))
