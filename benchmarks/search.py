"""What a shortlist loses against scoring everything, and how long a query takes.

    python -m benchmarks.search recall runs/flickr8k --split test
    python -m benchmarks.search latency --items 1000 31000
    python -m benchmarks.search latency --items 1000000 --index brute-force faiss

Both print a table, and with --out append JSON lines to a file.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import rich
import tyro
from rich.table import Table

from benchmarks.training_step import random_words
from hslm_tf.run_directory import RunDirectory

# What a shortlist has to reach: shares of the exact first and of the exact first ten, R@1 lost.
_TOP1, _TOP10, _R1 = 99.0, 97.0, 0.3
_ENCODED_AT_ONCE = 1000


@dataclass(frozen=True)
class Recall:
    """What a shortlist finds of what exhaustive scoring finds."""

    run: Annotated[Path, tyro.conf.Positional]
    """directory of a run, with projection heads or without"""
    dataset: str | None = None
    """folder or HDF5 file; by default the one that the run was trained on"""
    split: str | None = None
    """split; by default the run's test split"""
    shortlist: int = 100
    """length of the shortlist"""
    scores: Path | None = None
    """file for the matrix of exact scores; read if it exists, else written"""
    out: Path | None = None
    """file to append JSON lines to"""


@dataclass(frozen=True)
class Latency:
    """Time of a query at the paper's sizes, with random weights and random local features."""

    items: tuple[int, ...] = (1000, 31000)
    """sizes of the collection"""
    index: tuple[str, ...] = ("brute-force",)
    """indexes to measure: brute-force, faiss"""
    queries: int = 100
    """queries of each measurement, after five that warm up"""
    exhaustive: int = 3
    """queries that are scored exhaustively, in collections of at most 100,000"""
    shortlist: int = 100
    """length of the shortlist"""
    pool: int = 10000
    """images whose local features are on disk; a larger collection repeats them"""
    dim: int = 256
    """width of the shortlist vectors"""
    folder: Path | None = None
    """where the local features are written, 74 KB an image; by default the temporary folder"""
    out: Path | None = None
    """file to append JSON lines to"""


def shortlist_row(scores: np.ndarray, products: np.ndarray, size: int) -> dict[str, float]:
    """What a shortlist by inner products finds of the best by score.

    Args:
        scores: `[queries, items]`, exact.
        products: `[queries, items]`, what the shortlist is made by.
        size: length of the shortlist.

    Returns:
        Percentages of the exact first and of the exact first ten that the shortlist has, and the
        smallest lengths that reach 99% and 97% of them.
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
    """The shortest list that holds a percentage of things.

    Args:
        places: int `[n]`, their places, from 0.
        percentage: of n.

    Returns:
        The length.
    """
    return int(np.sort(places)[int(np.ceil(len(places) * percentage / 100)) - 1]) + 1


def recall_at_1(
    scores: np.ndarray, products: np.ndarray, size: int, right: Callable[[int, int], bool]
) -> float:
    """R@1 of exact scores within a shortlist.

    Args:
        scores: `[queries, items]`, exact.
        products: `[queries, items]`, what the shortlist is made by.
        size: length of the shortlist.
        right: whether an item answers a query.

    Returns:
        Percentage of queries whose best item of the shortlist is right.
    """
    size = min(size, scores.shape[1])
    hits = 0
    for query, row in enumerate(products):
        listed = np.argpartition(-row, size - 1)[:size]
        hits += right(query, listed[scores[query, listed].argmax()])
    return 100 * hits / len(scores)


def recall(arguments: Recall) -> list[dict]:
    """Measures a run.

    Args:
        arguments: what to measure.

    Returns:
        A row for each direction.
    """
    import keras

    from hslm_tf.experiment import open_split
    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.retrieval.scoring import score_matrix
    from hslm_tf.retrieval.shortlist import load_shortlist

    run = RunDirectory(arguments.run)
    dataset = open_split(run, arguments.split, arguments.dataset)
    model = keras.saving.load_model(run.best_model)
    collection = Collection.build(model, dataset, load_shortlist(run, model))
    if arguments.scores is not None and arguments.scores.exists():
        scores = np.load(arguments.scores)
    else:
        scores = score_matrix(model, dataset)
        if arguments.scores is not None:
            np.save(arguments.scores, scores)
    products = collection.vectors @ collection.caption_vectors.T
    owner = dataset.caption_to_image
    sides = {
        "caption to images": (scores.T, products.T, lambda query, item: owner[query] == item),
        "image to captions": (scores, products, lambda query, item: owner[item] == query),
    }
    rows = []
    for name, (exact, shortened, right) in sides.items():
        row = shortlist_row(exact, shortened, arguments.shortlist)
        r1 = recall_at_1(exact, shortened, exact.shape[1], right)
        row |= {"r1": r1, "r1_shortlist": recall_at_1(exact, shortened, arguments.shortlist, right)}
        size = max(row["needed_top1"], row["needed_top10"])
        while abs(recall_at_1(exact, shortened, size, right) - r1) > _R1:
            size = min(size + 10, exact.shape[1])
        rows.append({"direction": name, "items": exact.shape[1], **row, "needed": size})
    return rows


def latency(arguments: Latency) -> list[dict]:
    """Measures queries in collections of random local features.

    Args:
        arguments: what to measure.

    Returns:
        A row for each size and index, and for exhaustive scoring.
    """
    import keras

    from hslm_tf.model import HSLM
    from hslm_tf.presets import preset
    from hslm_tf.retrieval.indexes import open_index
    from hslm_tf.retrieval.shortlist import new_shortlist

    keras.utils.set_random_seed(0)
    config = preset("flickr30k").model
    words = random_words()
    model = HSLM(config, words)
    shortlist = new_shortlist(config.joint_dim, arguments.dim)
    random = np.random.default_rng(0)
    queries = [" ".join(random.choice(words[4:], random.integers(8, 15))) for _ in range(105)]
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        pool = min(arguments.pool, max(arguments.items))
        regions = _write_pool(Path(folder) / "regions.npy", pool, config, random)
        for items in arguments.items:
            collection = _random_collection(model, shortlist, regions, items, random)
            for name in arguments.index:
                collection.use_index(lambda side, name=name: open_index(name))
                started = time.perf_counter()
                collection.search(queries[:1], 10, arguments.shortlist)
                row = {"items": items, "index": name, "shortlist": arguments.shortlist}
                row["indexing_s"] = time.perf_counter() - started
                rows.append(
                    row | _times(collection, queries, arguments.queries, arguments.shortlist)
                )
            if items <= 100_000 and arguments.exhaustive:
                row = {"items": items, "index": "none: exhaustive", "shortlist": items}
                rows.append(row | _times(collection, queries, arguments.exhaustive, None, 1))
            rows[-1 if items > 100_000 else -2] |= _sizes(collection, items)
    return rows


def _write_pool(path: Path, count: int, config, random: np.random.Generator) -> np.ndarray:
    """Unit vectors on disk, in the place of encoded regions."""
    shape = (count, config.max_regions, config.joint_dim)
    regions = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    for first in range(0, count, _ENCODED_AT_ONCE):
        block = random.normal(size=regions[first : first + _ENCODED_AT_ONCE].shape)
        block /= np.linalg.norm(block, axis=-1, keepdims=True)
        regions[first : first + _ENCODED_AT_ONCE] = block
    regions.flush()
    return np.load(path, mmap_mode="r")


def _random_collection(model, shortlist, regions, items, random):
    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.retrieval.encodings import CaptionEncodings, ImageEncodings
    from hslm_tf.retrieval.rows import Rows

    vectors = random.standard_normal((items, shortlist.dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mask = np.ones((items, regions.shape[1]), bool)
    empty = np.zeros((0, regions.shape[2]), np.float16)
    none = np.zeros(0, np.int64)
    return Collection(
        model=model,
        shortlist=shortlist,
        ids=[str(item) for item in range(items)],
        vectors=vectors,
        images=ImageEncodings(Rows([regions], np.arange(items) % len(regions)), mask),
        captions=[],
        caption_to_image=none,
        caption_vectors=np.zeros((0, shortlist.dim), np.float32),
        texts=CaptionEncodings(Rows([empty]), none, none, Rows([empty])),
    )


def _times(
    collection, queries: list[str], count: int, shortlist: int | None, warm: int = 5
) -> dict[str, float]:
    seconds = []
    for number in range(warm + count):
        query = [queries[number % len(queries)]]
        started = time.perf_counter()
        collection.search(query, 10, shortlist)
        seconds.append(time.perf_counter() - started)
    milliseconds = 1000 * np.array(seconds[warm:])
    return {
        "queries": count,
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
    }


def _sizes(collection, items: int) -> dict[str, float]:
    """Bytes an image, in memory (vector, mask) and on disk (local features)."""
    memory = collection.vectors.nbytes + collection.region_mask.nbytes
    features = np.prod(collection.regions.shape[1:]) * collection.regions.dtype.itemsize
    return {"memory_bytes_an_item": memory / items, "disk_bytes_an_item": float(features)}


def _print(rows: list[dict], out: Path | None) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns)
    for row in rows:
        cells = (row.get(name, "") for name in columns)
        table.add_row(*(f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells))
    rich.print(table)
    if out is not None:
        with open(out, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: The arguments, by default those of the command line.
    """
    arguments = tyro.cli(Recall | Latency, prog="python -m benchmarks.search", args=args)
    try:
        rows = recall(arguments) if isinstance(arguments, Recall) else latency(arguments)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    _print(rows, arguments.out)


if __name__ == "__main__":
    main()
