"""What a search with candidates loses against scoring all items.

    python -m benchmarks.search_recall runs/flickr8k --split dev

Prints a table, and with --out appends JSON lines to a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from benchmarks.rows import print_rows
from hslm_tf.command_line import one_line_errors
from hslm_tf.runs.run_directory import RunDirectory

# Aims in percent: share of the exact first and of the exact first ten found, and most R@1 lost.
_TOP1, _TOP10, _R1 = 99.0, 97.0, 0.3


@dataclass(frozen=True)
class Arguments:
    """What candidates find of what exhaustive scoring finds."""

    run: Annotated[Path, tyro.conf.Positional]
    """directory of a run, with projection heads or without"""
    dataset: str | None = None
    """folder or HDF5 file; by default the one that the run was trained on"""
    split: str | None = None
    """split; by default the run's test split"""
    candidates: int = 100
    """items that are scored exactly"""
    scores: Path | None = None
    """file for the matrix of exact scores; read if it exists, else written"""
    out: Path | None = None
    """file to append JSON lines to"""


def candidates_row(scores: np.ndarray, products: np.ndarray, size: int) -> dict[str, float]:
    """How many of the best items by score are among the candidates by inner products.

    Args:
        scores: `[queries, items]`, exact.
        products: `[queries, items]`, what the candidates are found by.
        size: number of candidates.

    Returns:
        Percentages of the exact first and of the exact first ten that are candidates, and the
        smallest numbers of candidates that reach 99% and 97%.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    places = np.empty_like(best)
    for query, items in enumerate(best):
        own = products[query, items]
        places[query] = np.count_nonzero(products[query] > own[:, None], axis=1)
    return {
        "top1": 100 * float(np.mean(places[:, 0] < size)),
        "top10": 100 * float(np.mean(places < size)),
        "needed_top1": smallest_size(places[:, 0], _TOP1),
        "needed_top10": smallest_size(places.ravel(), _TOP10),
    }


def smallest_size(places: np.ndarray, percentage: float) -> int:
    """The length of the shortest list that holds a percentage of some items.

    Args:
        places: int `[n]`, the places of the items, from 0.
        percentage: how many of the n items.

    Returns:
        The length.
    """
    return int(np.sort(places)[int(np.ceil(len(places) * percentage / 100)) - 1]) + 1


def recall_at_1(
    scores: np.ndarray, products: np.ndarray, size: int, right: Callable[[int, int], bool]
) -> float:
    """R@1 of exact scores among candidates.

    Args:
        scores: `[queries, items]`, exact.
        products: `[queries, items]`, what the candidates are found by.
        size: number of candidates.
        right: whether an item answers a query.

    Returns:
        Percentage of queries whose best candidate is right.
    """
    size = min(size, scores.shape[1])
    hits = 0
    for query, row in enumerate(products):
        listed = np.argpartition(-row, size - 1)[:size]
        hits += right(query, listed[scores[query, listed].argmax()])
    return 100 * hits / len(scores)


def measure(arguments: Arguments) -> list[dict]:
    """Measures a run.

    Args:
        arguments: what to measure.

    Returns:
        A row for each direction.
    """
    import keras

    from hslm_tf.evaluation.scoring import score_matrix
    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.runs.opening import load_heads
    from hslm_tf.runs.splits import open_split

    run = RunDirectory(arguments.run)
    dataset = open_split(run, arguments.split, arguments.dataset)
    model = keras.saving.load_model(run.best_model)
    collection = Collection.build(model, dataset, load_heads(run.path, model))
    if arguments.scores is not None and arguments.scores.exists():
        scores = np.load(arguments.scores)
    else:
        scores = score_matrix(model, dataset)
        if arguments.scores is not None:
            np.save(arguments.scores, scores)
    products = collection.encoded.vectors @ collection.encoded.caption_vectors.T
    owner = dataset.caption_to_image
    sides = {
        "caption to images": (scores.T, products.T, lambda query, item: owner[query] == item),
        "image to captions": (scores, products, lambda query, item: owner[item] == query),
    }
    rows = []
    for name, (exact, shortened, right) in sides.items():
        row = candidates_row(exact, shortened, arguments.candidates)
        r1 = recall_at_1(exact, shortened, exact.shape[1], right)
        row |= {
            "r1": r1,
            "r1_candidates": recall_at_1(exact, shortened, arguments.candidates, right),
        }
        size = max(row["needed_top1"], row["needed_top10"])
        while abs(recall_at_1(exact, shortened, size, right) - r1) > _R1:
            size = min(size + 10, exact.shape[1])
        rows.append({"direction": name, "items": exact.shape[1], **row, "needed": size})
    return rows


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.search_recall", args=args)
    with one_line_errors():
        print_rows(measure(arguments), arguments.out)


if __name__ == "__main__":
    main()
