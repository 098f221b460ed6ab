"""The weight of words before and after self-attention, the paper's Figure 3."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.explanation import tokens_of
from hslm_tf.report.pages import Section, render

FUNCTION_WORDS = (
    "a an the is are was were be been being am in on of at to and with from by for as it its there "
    "that this his her their he she they while has have into up off over ."
).split()

_BLOCK = 500
# A table shows ten words that occur at least ten times.
_WORDS = 10
_LEAST_COUNT = 10


class WordCorrelations(NamedTuple):
    """The correlation of every word of a split with its caption, `[words]` each."""

    ids: np.ndarray
    captions: np.ndarray  # the row of the word's caption
    before: np.ndarray
    after: np.ndarray


def word_correlation_section(
    model: HSLM, dataset: RetrievalDataset, num_captions: int = 5
) -> Section | None:
    """Compares the weight of words before and after self-attention."""
    if not model.config.self_attention or model.config.pretrained_text:
        return None
    correlations = word_correlations(model, dataset.captions)
    rows = np.linspace(0, dataset.num_captions - 1, min(num_captions, dataset.num_captions))
    strips = [_strip(model, dataset, correlations, row) for row in np.unique(rows.astype(int))]
    tables = _word_tables(correlations, model.vocabulary)
    body = render(
        "word_correlation.html",
        split=dataset.name,
        num_captions=dataset.num_captions,
        residual=not model.config.as_printed,
        ratios=function_word_ratios(correlations, model.vocabulary),
        function_words=FUNCTION_WORDS,
        strips=strips,
        tables=tables,
    )
    title = "Words before and after self-attention (Figure 3)"
    return Section("word-correlation", title, body, [*tables, _strip_table(strips)])


def word_correlations(model: HSLM, captions: Sequence[str]) -> WordCorrelations:
    """Computes the values of Figure 3."""
    encoder = model.text_encoder
    layers = [encoder.get_layer("word_dropout"), encoder.get_layer("self_attention")]
    vectors = keras.Model(encoder.input, [layer.output for layer in layers])
    tokens = model.tokenizer.tokenize_all(captions)
    end = model.vocabulary.index("<end>")
    blocks = []
    for rows in row_blocks(len(captions), _BLOCK):
        ids = tokens.padded(rows)
        real = ids > end
        shares = [
            word_shares(np.asarray(words, np.float32), real)[real]
            for words in vectors({"token_ids": tf.constant(ids)}, training=False)
        ]
        blocks.append((ids[real], np.repeat(rows, real.sum(axis=1)), *shares))
    return WordCorrelations(*map(np.concatenate, zip(*blocks, strict=True)))


def word_shares(words: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share of each word in its caption's similarity matrix, summed along the columns."""
    words = words * mask[..., None]
    # The sum along a column is the product of the word with the sum of all words.
    sums = np.abs(np.einsum("cmd,cd->cm", words, words.sum(axis=1)))
    return sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-30)


def function_word_ratios(
    correlations: WordCorrelations, vocabulary: Sequence[str]
) -> tuple[float, float] | None:
    """Mean share of a function word over that of any other word, before and after."""
    function_ids = [row for row, word in enumerate(vocabulary) if word in FUNCTION_WORDS]
    chosen = np.isin(correlations.ids, function_ids)
    if chosen.all() or not chosen.any():
        return None
    parts = correlations.before, correlations.after
    before, after = (float(part[chosen].mean() / part[~chosen].mean()) for part in parts)
    return before, after


def _word_tables(correlations: WordCorrelations, vocabulary: Sequence[str]) -> list[DataTable]:
    """The words that weigh most and least, as shares relative to the caption's mean share."""
    ids, counts = np.unique(correlations.ids, return_counts=True)
    lengths = np.bincount(correlations.captions)[correlations.captions]
    before, after = (
        np.bincount(correlations.ids, weights=shares * lengths)[ids] / counts
        for shares in (correlations.before, correlations.after)
    )
    known = (counts >= _LEAST_COUNT) & (ids > vocabulary.index("<unk>"))
    order = np.flatnonzero(known)[np.argsort(-after[known], kind="stable")]
    rows = [
        (vocabulary[ids[place]], str(counts[place]), f"{before[place]:.2f}", f"{after[place]:.2f}")
        for place in order
    ]
    num_words = min(_WORDS, len(rows) // 2)
    columns = ("word", "occurrences", "before", "after")
    note = (
        "Mean share of the word, over the mean share of all words of its caption: 1 is average. "
        f"Words that occur at least {_LEAST_COUNT} times."
    )
    return [
        DataTable(
            f"words_{which}",
            f"Words that weigh {which} after self-attention",
            columns,
            words,
            note=note,
        )
        for which, words in (("most", rows[:num_words]), ("least", rows[::-1][:num_words]))
        if words
    ]


def _strip(
    model: HSLM, dataset: RetrievalDataset, correlations: WordCorrelations, row: int
) -> dict[str, Any]:
    """One caption with the shares of its words."""
    caption = dataset.captions[row]
    of_caption = correlations.captions == row
    shares = {"before": correlations.before[of_caption], "after": correlations.after[of_caption]}
    return {
        "caption": caption,
        # Without `<start>` and `<end>`.
        "words": tokens_of(model, caption)[1:-1],
        "shares": {name: values.tolist() for name, values in shares.items()},
        "largest": max((values.max(initial=0) for values in shares.values()), default=0) or 1,
    }


def _strip_table(strips: Sequence[dict[str, Any]]) -> DataTable:
    rows = [
        (strip["caption"], word, f"{before:.4f}", f"{after:.4f}")
        for strip in strips
        for word, before, after in zip(strip["words"], *strip["shares"].values(), strict=True)
    ]
    title = "Word correlation before and after self-attention"
    columns = ("caption", "word", "before", "after")
    return DataTable("word_correlation", title, columns, rows, text_columns=frozenset({0, 1}))
