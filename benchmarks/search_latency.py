"""How long a query takes at the paper's sizes, and what an item costs in memory and on disk.

    python -m benchmarks.search_latency
    python -m benchmarks.search_latency --items 1000000 --index brute-force faiss
    python -m benchmarks.search_latency --items 1000 --exported

Weights, vectors and local features are random, because the time does not depend on them. Large
collections repeat a pool of local features. Prints a table, and with --out appends JSON lines to a
file.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from benchmarks.rows import print_rows
from benchmarks.training_step import random_words
from hslm_tf.command_line import one_line_errors
from hslm_tf.presets import preset
from hslm_tf.retrieval.indexes import Backend, open_index

if TYPE_CHECKING:
    from hslm_tf.retrieval.collection import Collection

Direction = Literal["caption to images", "image to captions"]
_WARM_UP = 5
# Captions of a query of several, as a service may collect them.
_AT_ONCE = 32
# Larger collections are not scored exhaustively: a query would take minutes.
_MOST_EXHAUSTIVE = 100_000
# Images that are drawn, or written, at once.
_ROW_BLOCK_SIZE = 1000


@dataclass(frozen=True)
class Arguments:
    """Time of a query by size of the collection and index."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr30k"
    """configuration whose sizes are taken"""
    items: tuple[int, ...] = (1000, 31000)
    """sizes of the collection: as many images and as many captions"""
    index: tuple[Backend, ...] = ("brute-force",)
    """indexes to measure"""
    queries: int = 100
    """queries of each measurement, after five that warm up"""
    exhaustive: int = 3
    """queries that are scored exhaustively, in collections of at most 100,000; 0 for none"""
    exported: bool = False
    """also ask the endpoint `search` of an exported model, which has the images in memory"""
    candidates: int = 100
    """items that are scored exactly"""
    pool: int = 10000
    """images and captions whose local features are on disk; a larger collection repeats them"""
    dim: int = 256
    """width of the vectors of the projection heads"""
    folder: Path | None = None
    """where the local features are written, 0.1 MB an item; by default the temporary folder"""
    out: Path | None = None
    """file to append JSON lines to"""


def measure(arguments: Arguments) -> list[dict]:
    """Measures queries.

    Args:
        arguments: what to measure.

    Returns:
        A row for each size, index and direction, for several captions at once, and for exhaustive
        scoring.
    """
    import keras

    from hslm_tf.models.hslm import HSLM
    from hslm_tf.retrieval.projection_heads import new_heads

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    config, words = preset(arguments.preset).model, random_words()
    model, heads = HSLM(config, words), new_heads(config.joint_dim, arguments.dim)
    captions = [" ".join(random.choice(words[4:], random.integers(8, 15))) for _ in range(100)]
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        pool = Pool(Path(folder), min(arguments.pool, max(arguments.items)), config, random)
        for items in arguments.items:
            collection = pool.collection(model, heads, items)
            images = [str(image) for image in random.integers(0, items, 100)]
            queries = {"caption to images": captions, "image to captions": images}
            for name in arguments.index:
                collection.use_index(lambda side, name=name: open_index(name))
                for direction, asked in queries.items():
                    started = time.perf_counter()
                    ask(collection, direction, asked[0], arguments.candidates)
                    row = {"items": items, "direction": direction, "index": name}
                    row |= {"first_s": time.perf_counter() - started}
                    num_candidates = arguments.candidates
                    answer = partial(ask, collection, direction, num_candidates=num_candidates)
                    rows.append(row | _times(answer, asked, arguments.queries))
                several = partial(collection.search, k=10, num_candidates=arguments.candidates)
                row = {"items": items, "direction": f"{_AT_ONCE} captions to images", "index": name}
                rows.append(row | _times_of_several(several, captions, arguments.queries))
            if arguments.exported:
                row = {"items": items, "direction": "caption to images", "index": "exported"}
                search = _exported(collection, arguments.candidates, Path(folder))
                rows.append(row | _times(search, captions, arguments.queries))
            if items <= _MOST_EXHAUSTIVE and arguments.exhaustive:
                for direction, asked in queries.items():
                    row = {"items": items, "direction": direction, "index": "none: exhaustive"}
                    answer = partial(ask, collection, direction, num_candidates=None)
                    # It takes seconds; after the other queries one is enough to warm up.
                    rows.append(row | _times(answer, asked, arguments.exhaustive, warm_up=1))
        row = {"direction": f"encoding of {_AT_ONCE} captions"}
        rows.append(row | _times_of_several(model.encode_text, captions, arguments.queries))
        rows[0] |= _sizes(collection)
    return rows


def ask(
    collection: "Collection", direction: Direction, query: str, num_candidates: int | None
) -> list[list]:
    """One query for ten answers.

    Args:
        collection: the collection.
        direction: what is looked for.
        query: a caption, or the id of an image.
        num_candidates: items that are scored exactly; None for all.

    Returns:
        What the collection answers.
    """
    if direction == "caption to images":
        return collection.search([query], 10, num_candidates)
    return collection.search_by_image([query], 10, num_candidates)


class Pool:
    """Random unit vectors on disk in place of encoded images and captions.

    Args:
        folder: where the files are written.
        count: number of images, and of captions.
        config: sizes.
        random: the random generator.
    """

    def __init__(self, folder: Path, count: int, config, random: np.random.Generator) -> None:
        self._count, self._random = count, random
        width = config.joint_dim
        self._lengths = random.integers(10, 18, count)
        shape = (count, config.max_regions, width)
        self._regions = self._write(folder / "regions.npy", shape)
        self._words = self._write(folder / "words.npy", (int(self._lengths.sum()), width))
        self._global = self._write(folder / "global.npy", (count, width))

    def collection(self, model, heads, items: int) -> "Collection":
        """A collection of `items` images and as many captions.

        Args:
            model: the model.
            heads: projection heads.
            items: number of images, and of captions.

        Returns:
            The collection.
        """
        from hslm_tf.retrieval.collection import Collection
        from hslm_tf.retrieval.encoded_dataset import EncodedDataset
        from hslm_tf.retrieval.encodings import CaptionEncodings, ImageEncodings
        from hslm_tf.retrieval.rows import Rows

        repeated = np.arange(items) % self._count
        mask = np.ones((items, self._regions.shape[1]), bool)
        global_features = Rows([self._global], repeated)
        encoded = EncodedDataset(
            ids=[str(image) for image in range(items)],
            images=ImageEncodings(
                Rows([self._regions], repeated),
                mask,
                global_features if model.config.pools_regions else None,
            ),
            vectors=self._unit((items, heads.dim)),
            captions=[f"caption {caption}" for caption in range(items)],
            caption_to_image=np.arange(items),
            texts=CaptionEncodings(Rows([self._words]), self._lengths, Rows([self._global])).select(
                repeated
            ),
            caption_vectors=self._unit((items, heads.dim)),
        )
        return Collection(model, heads, encoded)

    def _write(self, path: Path, shape: tuple[int, ...]) -> np.ndarray:
        array = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        for first in range(0, len(array), _ROW_BLOCK_SIZE):
            rows = slice(first, first + _ROW_BLOCK_SIZE)
            array[rows] = self._unit(array[rows].shape)
        array.flush()
        return np.load(path, mmap_mode="r")

    def _unit(self, shape: tuple[int, ...]) -> np.ndarray:
        vectors = self._random.standard_normal(shape, np.float32)
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors


def _exported(
    collection: "Collection", num_candidates: int, folder: Path
) -> Callable[[str], object]:
    """The endpoint `search` of the exported model and collection."""
    import tensorflow as tf

    from hslm_tf.serving.savedmodel import export_model
    from hslm_tf.serving.search_index import SearchIndex

    index = SearchIndex(collection, num_candidates=num_candidates)
    path = export_model(
        collection.model, folder / "exported", None, "float32", collection.heads, index
    )
    loaded = tf.saved_model.load(str(path))
    return lambda caption: loaded.signatures["search"](captions=tf.constant([caption]))


def _times_of_several(
    answer: Callable[[list[str]], object], captions: list[str], count: int
) -> dict[str, float]:
    """Times of some captions at once, in as many calls as `count` captions need."""
    times = _times(answer, [captions[:_AT_ONCE]], -(-count // _AT_ONCE), warm_up=1)
    return times | {"captions_per_s": 1000 * _AT_ONCE / times["p50_ms"]}


def _times(
    answer: Callable[[Any], object], queries: list, count: int, warm_up: int = _WARM_UP
) -> dict[str, float]:
    seconds = []
    for number in range(warm_up + count):
        started = time.perf_counter()
        answer(queries[number % len(queries)])
        seconds.append(time.perf_counter() - started)
    milliseconds = 1000 * np.array(seconds[warm_up:])
    return {
        "queries": count,
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
    }


def _sizes(collection: "Collection") -> dict[str, float]:
    """Bytes in memory (vectors, masks) and on disk (local features) of an image and a caption."""
    encoded = collection.encoded
    images, texts = encoded.images, encoded.texts
    bytes_a_number = images.regions.dtype.itemsize
    words = float(texts.lengths.mean()) + 1  # the global vector
    global_features = 0 if images.image_global is None else images.image_global.shape[1]
    return {
        "memory_an_image": float(encoded.vectors[0].nbytes + images.region_mask[0].nbytes),
        "disk_an_image": float(
            (np.prod(images.regions.shape[1:]) + global_features) * bytes_a_number
        ),
        # Start and length of the words, and the row of the image, are eight bytes each.
        "memory_a_caption": float(encoded.caption_vectors[0].nbytes + 3 * 8),
        "disk_a_caption": words * texts.words.shape[1] * bytes_a_number,
    }


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.search_latency", args=args)
    with one_line_errors():
        print_rows(measure(arguments), arguments.out)


if __name__ == "__main__":
    main()
