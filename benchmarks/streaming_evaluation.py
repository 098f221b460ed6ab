"""Time and memory of an exact evaluation, by default of COCO 5K's shape at the paper's sizes.

    python -m benchmarks.streaming_evaluation --captions 512
    python -m benchmarks.streaming_evaluation --images 1000 --precision mixed_bfloat16

Images are encoded once, captions are streamed, ranks are computed from the stream; there is no
matrix of scores. Features, captions and weights are random. With --captions only some blocks of
captions are scored, evenly from the shortest to the longest, and the total time is projected.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import numpy as np
import rich
import tyro
from rich.table import Table

from benchmarks.machine import gemm_ceiling, gpu_memory, peak_memory
from benchmarks.necessary_work import pair_work
from benchmarks.training_step import VOCABULARY_SIZE, random_words
from hslm_tf.config import ModelConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.presets import PRESETS, preset

_CAPTIONS_PER_IMAGE = 5
# Tokens of a caption, <start> and <end> included.
_MEAN_TOKENS, _DEVIATION, _SHORTEST, _LONGEST = 14.4, 5.0, 5, 27


@dataclass(frozen=True)
class Arguments:
    """Time and memory of an exact evaluation."""

    images: int = 5000
    """Images; five captions each."""
    captions: int | None = None
    """About how many captions to score; all by default."""
    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "coco"
    """Configuration whose sizes are taken, such as coco or sample."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras precision policy."""
    threads: int | None = None
    """Threads of an operation; without it as many as there are cores."""


@dataclass(frozen=True)
class Measurement:
    """What an evaluation took.

    Args:
        images: images.
        captions: captions of the whole evaluation.
        captions_scored: captions that were scored.
        mean_tokens: mean number of tokens of the captions that were scored.
        precision: Keras precision policy.
        encoding_s: seconds to encode the images and to score the first block, which compiles.
        scoring_s: seconds for the other blocks, ranks included.
        pairs_per_s: pairs of the other blocks per second.
        total_s: seconds of the whole evaluation, projected where captions were left out.
        most_pending: most scores that were kept at a time because they might still count.
        ceiling_before: `tf.matmul` before in GFLOP/s.
        ceiling_after: the same afterwards.
        ratio: necessary work of the pairs per second / larger ceiling.
        peak_memory_gb: largest resident set of the process in GB.
        gpu_memory_gb: most memory held on the GPU, in GB.
    """

    images: int
    captions: int
    captions_scored: int
    mean_tokens: float
    precision: str
    encoding_s: float
    scoring_s: float
    pairs_per_s: float
    total_s: float
    most_pending: int
    ceiling_before: float
    ceiling_after: float
    ratio: float
    peak_memory_gb: float
    gpu_memory_gb: float | None


class RandomRegions:
    """Region features that are drawn when they are read, like an array on disk.

    Args:
        shape: images, regions, width.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return np.stack(
            [np.random.default_rng(row).standard_normal(self.shape[1:], np.float32) for row in rows]
        )


def random_dataset(config: ModelConfig, num_images: int) -> RetrievalDataset:
    """Makes a dataset of random images, each with five captions of random words.

    Args:
        config: sizes.
        num_images: number of images.

    Returns:
        The dataset; nothing of the size of its features is in memory.
    """
    random = np.random.default_rng(0)
    count = num_images * _CAPTIONS_PER_IMAGE
    lengths = np.rint(random.normal(_MEAN_TOKENS, _DEVIATION, count)).astype(int)
    captions = [
        " ".join(f"word{i}" for i in random.integers(0, VOCABULARY_SIZE - 4, length - 2))
        for length in np.clip(lengths, _SHORTEST, min(_LONGEST, config.max_tokens or _LONGEST))
    ]
    return RetrievalDataset(
        name="random",
        source="random features",
        region_features=RandomRegions((num_images, config.max_regions, config.region_dim)),
        captions=captions,
        caption_to_image=np.repeat(np.arange(num_images, dtype=np.int32), _CAPTIONS_PER_IMAGE),
    )


def blocks_to_score(order: np.ndarray, captions: int | None, block: int) -> np.ndarray:
    """Chooses whole blocks of an order, evenly from its start to its end.

    Args:
        order: int `[n]`, captions from the shortest to the longest.
        captions: about how many captions to choose, two blocks at least; all where None.
        block: captions of a block.

    Returns:
        Some of the order.
    """
    count = -(-len(order) // block)
    chosen = count if captions is None else min(count, max(2, round(captions / block)))
    # The middle of each of `chosen` equal parts.
    places = ((np.arange(chosen) + 0.5) * count / chosen).astype(int)
    return np.concatenate([order[place * block : (place + 1) * block] for place in places])


def measure(arguments: Arguments) -> Measurement:
    """Builds the model and evaluates it.

    Args:
        arguments: what to measure.

    Returns:
        The measurement.
    """
    import keras
    import tensorflow as tf

    from hslm_tf.evaluation.scoring import CAPTION_BLOCK_SIZE, caption_order, score_blocks
    from hslm_tf.evaluation.streaming_ranks import StreamingRanks
    from hslm_tf.models.hslm import HSLM

    if arguments.threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    keras.utils.set_random_seed(0)
    config = preset(arguments.preset).model
    before = gemm_ceiling(arguments.precision)
    model = HSLM(config, random_words(), dtype=arguments.precision)
    dataset = random_dataset(config, arguments.images)
    order = blocks_to_score(caption_order(model, dataset), arguments.captions, CAPTION_BLOCK_SIZE)
    ranks = StreamingRanks(dataset.caption_to_image, dataset.num_images)
    moments, sizes, most = [time.perf_counter()], [], 0
    for captions, scores in score_blocks([model], dataset, order):
        ranks.add(scores, captions)
        most = max(most, ranks.num_pending)
        moments.append(time.perf_counter())
        sizes.append(len(captions))
    if len(order) == dataset.num_captions:
        ranks.ranks()
    encoding, scoring = moments[1] - moments[0], moments[-1] - moments[1]
    pairs_per_s = sum(sizes[1:]) * dataset.num_images / scoring
    pairs = dataset.num_images * dataset.num_captions
    memory, after = peak_memory(), gemm_ceiling(arguments.precision)
    tokens = model.tokenizer.tokenize_all([dataset.captions[caption] for caption in order])
    mean_tokens = len(tokens.ids) / len(tokens)
    work = pair_work(config, mean_tokens) / 1e9
    return Measurement(
        images=dataset.num_images,
        captions=dataset.num_captions,
        captions_scored=len(order),
        mean_tokens=round(mean_tokens, 2),
        precision=arguments.precision,
        encoding_s=encoding,
        scoring_s=scoring,
        pairs_per_s=pairs_per_s,
        total_s=encoding + (pairs - sizes[0] * dataset.num_images) / pairs_per_s,
        most_pending=most,
        ceiling_before=before,
        ceiling_after=after,
        ratio=pairs_per_s * work / max(before, after),
        peak_memory_gb=memory,
        gpu_memory_gb=gpu_memory(),
    )


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.streaming_evaluation", args=args)
    if arguments.preset not in PRESETS:
        sys.exit(f"error: no such preset: {arguments.preset}. There are: {', '.join(PRESETS)}")
    least = 52
    if arguments.images < least:
        sys.exit(f"error: --images must be at least {least}, two blocks, not {arguments.images}")
    found = measure(arguments)
    table = Table(
        title=f"Exact evaluation, {found.images} images x {found.captions} captions, "
        f"{arguments.preset}, {found.precision}"
    )
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_row("captions scored", f"{found.captions_scored}")
    table.add_row("tokens of a caption, mean", f"{found.mean_tokens:.1f}")
    table.add_row("images encoded, first block scored", f"{found.encoding_s:.1f} s")
    table.add_row("other blocks scored", f"{found.scoring_s:.1f} s")
    table.add_row("pairs per second", f"{found.pairs_per_s:,.0f}")
    projected = found.captions_scored < found.captions
    table.add_row("whole evaluation" + ", projected" * projected, f"{found.total_s / 60:.1f} min")
    table.add_row("most scores kept for ranks", f"{found.most_pending:,}")
    table.add_row("peak resident memory", f"{found.peak_memory_gb:.2f} GB")
    ceilings = f"{found.ceiling_before:.0f}, {found.ceiling_after:.0f} GFLOP/s"
    table.add_row("tf.matmul, before and after", ceilings)
    table.add_row("work / (time x ceiling)", f"{found.ratio:.2f}")
    rich.print(table)
    print(json.dumps({"benchmark": "exact_evaluation", **asdict(found)}))


if __name__ == "__main__":
    main()
