"""Does the order of words count? Models, and what a bigram model of the captions hears alone.

    python -m benchmarks.word_order DIR RUN_OR_MODEL ...

DIR holds Flickr8k's train and dev. 250 dev captions, checked by eye, say something else when two of
their nouns or adjectives change places. Printed is how often the right caption is preferred to the
exchanged one: by each model, which sees the image, and by a bigram model of the training captions,
which does not.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tensorflow as tf
import tyro

from hslm_tf.command_line import one_line_errors, print_table
from hslm_tf.data import load_dataset
from hslm_tf.report.word_order import (
    exchanged_caption,
    measure_word_order,
    read_exchanges,
    word_order_table,
)
from hslm_tf.runs.opening import load_model
from hslm_tf.text.tokenization import tokenize

_SMOOTHING = 0.1


@dataclass(frozen=True)
class Arguments:
    """Measure whether the order of words counts."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder with Flickr8k's train and dev."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Directories of runs, or .keras files."""


class BigramModel:
    """Probabilities of a word after another, counted in captions and smoothed.

    Args:
        captions: the captions.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        words = [_words(caption) for caption in captions]
        self._pairs = Counter(pair for caption in words for pair in itertools.pairwise(caption))
        self._firsts = Counter(word for caption in words for word in caption[:-1])

    def log_likelihood(self, caption: str) -> float:
        """Logarithm of a caption's probability."""
        total = 0.0
        for first, second in itertools.pairwise(_words(caption)):
            count = self._pairs[first, second] + _SMOOTHING
            total += np.log(count / (self._firsts[first] + _SMOOTHING * len(self._firsts)))
        return total


def _words(caption: str) -> list[str]:
    words = tokenize(tf.constant([caption]))[0].numpy()
    return ["<start>", *(word.decode() for word in words), "<end>"]


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.word_order", args=args)
    with one_line_errors():
        train, dev = (load_dataset(arguments.data, split) for split in ("train", "dev"))
        exchanges = read_exchanges(dev)
        if not exchanges:
            raise ValueError(f"{arguments.data} does not hold Flickr8k's dev captions")
        bigrams = BigramModel(train.captions)
        captions = [dev.captions[exchange.caption] for exchange in exchanges]
        heard = np.array(
            [
                bigrams.log_likelihood(caption)
                > bigrams.log_likelihood(exchanged_caption(caption, exchange))
                for caption, exchange in zip(captions, exchanges, strict=True)
            ]
        )
        found = {"bigrams of the training captions": heard}
        for path in arguments.models:
            found[str(path)] = measure_word_order(load_model(path), dev, exchanges)
        for name, right in found.items():
            print(name)
            print_table(word_order_table(exchanges, right).rich())


if __name__ == "__main__":
    main()
