"""Time and memory of one training step, by default at the paper's full sizes.

    python -m benchmarks.training_step
    python -m benchmarks.training_step --preset sample --steps 10 --precision mixed_bfloat16

The batch is random, the hardest negatives are taken from all others, as at the end of training.
"""

import os
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import rich
import tyro
from rich.table import Table

from hslm_tf.config import PRESETS, ModelConfig, preset

# Size of the vocabulary of Flickr30K in SCAN's files.
_VOCABULARY_SIZE = 8481
_SHORTEST, _LONGEST = 5, 25


@dataclass(frozen=True)
class Arguments:
    """Time and memory of one training step."""

    steps: int = 5
    """Steps to time, after one that compiles."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr30k"
    """Configuration whose sizes are taken, such as flickr30k or sample."""

    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras precision policy."""

    batch_size: int | None = None
    """Pairs of a batch, instead of the preset's."""

    threads: int | None = None
    """Threads of an operation; without it as many as there are cores."""


@dataclass(frozen=True)
class Measurement:
    """What the steps took.

    Args:
        first: Seconds of the first step, which compiles.
        median: Median seconds of the others.
        peak_memory: Largest resident set of the process in GiB.
    """

    first: float
    median: float
    peak_memory: float


def random_batch(config: ModelConfig, batch_size: int) -> dict[str, np.ndarray]:
    """Makes a batch of images with all their regions and captions of 5 to 25 words.

    Args:
        config: Sizes.
        batch_size: Number of pairs, every one of another image.

    Returns:
        What `HSLM.train_step` takes.
    """
    random = np.random.default_rng(0)
    lengths = random.integers(_SHORTEST, _LONGEST + 1, (batch_size, 1)) + 2
    token_ids = random.integers(4, _VOCABULARY_SIZE, (batch_size, _LONGEST + 2))
    shape = (batch_size, config.max_regions, config.region_dim)
    return {
        "regions": random.normal(size=shape).astype(np.float32),
        "region_mask": np.ones(shape[:2], bool),
        "token_ids": np.where(np.arange(_LONGEST + 2) < lengths, token_ids, 0).astype(np.int32),
        "image_index": np.arange(batch_size, dtype=np.int32),
    }


def measure(arguments: Arguments) -> Measurement:
    """Builds the model and runs the steps.

    Args:
        arguments: What to measure.

    Returns:
        The measurement.
    """
    import keras
    import tensorflow as tf

    from hslm_tf.model import HSLM
    from hslm_tf.training import HardestNegativeTripletLoss

    if arguments.threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    keras.config.set_dtype_policy(arguments.precision)
    run = preset(arguments.preset)
    words = ["<pad>", "<start>", "<end>", "<unk>"]
    words += [f"word{i}" for i in range(_VOCABULARY_SIZE - len(words))]
    model = HSLM(run.model, words)
    model.compile(
        keras.optimizers.Adam(
            run.training.learning_rate, global_clipnorm=run.training.gradient_clip
        ),
        HardestNegativeTripletLoss(run.training.margin),
    )
    model.optimizer.build(model.trainable_variables)
    batch = random_batch(run.model, arguments.batch_size or run.training.batch_size)
    batch = {key: tf.constant(value) for key, value in batch.items()}
    train_step = tf.function(model.train_step)
    seconds = []
    for _ in range(1 + arguments.steps):
        started = time.perf_counter()
        loss = float(train_step(batch)["loss"])
        seconds.append(time.perf_counter() - started)
    if not np.isfinite(loss):
        raise FloatingPointError(f"The loss is not finite. Received: loss={loss}")
    return Measurement(seconds[0], statistics.median(seconds[1:]), peak_memory())


def peak_memory() -> float:
    """Returns the largest resident set of this process in GiB."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes, but bytes on macOS.
    return largest / 2 ** (30 if sys.platform == "darwin" else 20)


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: The arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.training_step", args=args)
    if arguments.preset not in PRESETS:
        sys.exit(f"error: no such preset: {arguments.preset}. There are: {', '.join(PRESETS)}")
    if arguments.steps < 1:
        sys.exit(f"error: --steps must be at least 1, not {arguments.steps}")
    measurement = measure(arguments)
    run = preset(arguments.preset)
    pairs = arguments.batch_size or run.training.batch_size
    sizes = run.model
    table = Table(title=f"Training step, {arguments.preset}, {arguments.precision}")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_row("pairs of a batch", f"{pairs}")
    table.add_row("regions", f"{sizes.max_regions} x {sizes.region_dim}")
    table.add_row("words of a caption", f"{_SHORTEST} to {_LONGEST}")
    widths = (sizes.joint_dim, sizes.word_dim, sizes.similarity_dim)
    table.add_row("widths d1, d2, s", ", ".join(map(str, widths)))
    table.add_row("graph convolutions", f"{sizes.mgcn_layers if sizes.mgcn else 0}")
    table.add_row("threads", f"{arguments.threads or os.cpu_count()}")
    table.add_section()
    table.add_row("first step, with compilation", f"{measurement.first:.2f} s")
    table.add_row(f"step, median of {arguments.steps}", f"{measurement.median:.2f} s")
    table.add_row("pairs per second", f"{pairs / measurement.median:.1f}")
    table.add_row("peak resident memory", f"{measurement.peak_memory:.2f} GiB")
    rich.print(table)


if __name__ == "__main__":
    main()
