"""Whether the order of words counts: captions against the same with two words exchanged."""

import csv
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.data_table import DataTable, group_rows
from hslm_tf.report.pages import Section, plain_section

_BLOCK_SIZE = 100


class Exchange(NamedTuple):
    """A caption, and two of its words that change its meaning when they change places."""

    caption: int
    first: int
    second: int
    kind: str


def read_exchanges(dataset: RetrievalDataset) -> list[Exchange]:
    """Reads the exchanges of Flickr8k's dev captions; none for the captions of other data."""
    text = (files("hslm_tf.report") / "exchanged_words.tsv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    exchanges = []
    for caption, first, second, *words, kind in csv.reader(lines, delimiter="\t"):
        exchange = Exchange(int(caption), int(first), int(second), kind)
        if not _fits(exchange, words, dataset.captions):
            return []
        exchanges.append(exchange)
    return exchanges


def _fits(exchange: Exchange, words: Sequence[str], captions: Sequence[str]) -> bool:
    if exchange.caption >= len(captions):
        return False
    written = captions[exchange.caption].lower().split()
    places = exchange.first, exchange.second
    return max(places) < len(written) and [written[place] for place in places] == list(words)


def exchanged_caption(caption: str, exchange: Exchange) -> str:
    """Writes a caption with two words exchanged."""
    words = caption.split()
    first, second = exchange.first, exchange.second
    words[first], words[second] = words[second], words[first]
    return " ".join(words)


def measure_word_order(
    model: HSLM, dataset: RetrievalDataset, exchanges: Sequence[Exchange]
) -> np.ndarray:
    """Says for every exchange whether the right caption scores higher, bool `[exchanges]`."""
    preferred = []
    for start in range(0, len(exchanges), _BLOCK_SIZE):
        block = exchanges[start : start + _BLOCK_SIZE]
        rows = np.array([exchange.caption for exchange in block])
        right = [dataset.captions[row] for row in rows]
        exchanged = list(map(exchanged_caption, right, block))
        regions, mask = dataset.read_images(dataset.caption_to_image[rows])
        scores = [model.score(regions, captions, mask).numpy() for captions in (right, exchanged)]
        preferred.append(scores[0] > scores[1])
    return np.concatenate(preferred)


def word_order_table(exchanges: Sequence[Exchange], right: np.ndarray) -> DataTable:
    """Shows how often the right caption is preferred."""
    rows = group_rows([exchange.kind for exchange in exchanges], right)
    return DataTable(
        "word_order",
        "Captions preferred to the same with two words exchanged",
        ("exchanged", "captions", "preferred %"),
        rows,
        frozenset({len(rows) - 1}),
        "A model that does not see the order of words prefers half of them.",
    )


def word_order_section(model: HSLM, dataset: RetrievalDataset) -> Section | None:
    """Shows whether the order of words counts."""
    exchanges = read_exchanges(dataset)
    if not exchanges:
        return None
    right = measure_word_order(model, dataset, exchanges)
    example = exchanges[0]
    caption = dataset.captions[example.caption]
    text = [
        f"{len(exchanges)} captions of the split, checked by eye, say something else when two of "
        f"their words change places: “{caption}” and “{exchanged_caption(caption, example)}”."
    ]
    table = word_order_table(exchanges, right)
    return plain_section("word_order", "Whether the order of words counts", text, [table])
