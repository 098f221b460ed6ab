"""Time and memory of one training step, by default at the paper's full sizes.

    python -m benchmarks.training_step
    python -m benchmarks.training_step --precision mixed_bfloat16
    python -m benchmarks.training_step --batch-size 1024 --steps 1
    python -m benchmarks.training_step --loss contrastive

The batch is random. Hardest negatives are taken from the whole batch, as at the end of training;
with `--loss contrastive` all pairs take part, as at its beginning. Time is compared with what the
necessary matrix products would take at the speed of one large one.
"""

import dataclasses
import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import numpy as np
import rich
import tyro
from rich.table import Table

from benchmarks.machine import gemm_ceiling, gpu_memory, peak_memory, seconds_in_turns
from benchmarks.necessary_work import training_step_work
from hslm_tf.config import ModelConfig
from hslm_tf.presets import PRESETS, preset

# Size of the vocabulary of Flickr30K in SCAN's files.
VOCABULARY_SIZE = 8481
# Tokens of a caption, <start> and <end> included; 1,848 in a batch of 128.
_MEAN_TOKENS, _SHORTEST, _LONGEST = 14.4375, 5, 27


@dataclass(frozen=True)
class Arguments:
    """Time and memory of one training step."""

    steps: int = 10
    """Steps to time, after two that warm up."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr30k"
    """Configuration whose sizes are taken, such as flickr30k or sample."""

    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras precision policy."""

    loss: Literal["triplet", "contrastive"] = "triplet"
    """Hardest of all negatives, or all pairs of the batch."""

    batch_size: int | None = None
    """Pairs of a batch, instead of the preset's."""

    threads: int | None = None
    """Threads of an operation; without it as many as there are cores."""


@dataclass(frozen=True)
class Measurement:
    """What the steps took.

    Args:
        preset: configuration.
        precision: Keras precision policy.
        loss: loss.
        batch_size: pairs of a batch.
        tokens: real tokens of the batch.
        first_s: seconds of the first step, which compiles.
        step_s: median seconds of the steps after warm-up.
        work_gflop: necessary work of a step.
        ceiling_before: `tf.matmul` before the steps in GFLOP/s.
        ceiling_after: the same after them.
        ratio: necessary work / (time x larger ceiling).
        peak_memory_gb: largest resident set while stepping, in GB.
        gpu_memory_gb: most memory held on the GPU, in GB.
    """

    preset: str
    precision: str
    loss: str
    batch_size: int
    tokens: int
    first_s: float
    step_s: float
    work_gflop: float
    ceiling_before: float
    ceiling_after: float
    ratio: float
    peak_memory_gb: float
    gpu_memory_gb: float | None


def caption_lengths(batch_size: int) -> np.ndarray:
    """Draws numbers of tokens from 5 to 27, 14.4375 on average; one of them is 27.

    Args:
        batch_size: captions.

    Returns:
        int64 `[batch_size]`.
    """
    random = np.random.default_rng(0)
    lengths = np.rint(random.normal(_MEAN_TOKENS, 4.5, batch_size)).astype(int)
    lengths = np.clip(lengths, _SHORTEST, _LONGEST)
    lengths[0] = _LONGEST
    while excess := lengths.sum() - round(_MEAN_TOKENS * batch_size):
        place = random.integers(1, batch_size)
        lengths[place] = np.clip(lengths[place] - np.sign(excess), _SHORTEST, _LONGEST)
    return lengths


def random_batch(config: ModelConfig, batch_size: int) -> dict[str, np.ndarray]:
    """Makes a batch of images with all their regions, and captions as long as Flickr30K's.

    Args:
        config: sizes.
        batch_size: number of pairs, every one of another image.

    Returns:
        What `HSLM.train_step` takes.
    """
    random = np.random.default_rng(0)
    token_ids = random.integers(4, VOCABULARY_SIZE, (batch_size, _LONGEST))
    real = np.arange(_LONGEST) < caption_lengths(batch_size)[:, None]
    shape = (batch_size, config.max_regions, config.region_dim)
    return {
        "region_features": random.standard_normal(shape, np.float32),
        "region_mask": np.ones(shape[:2], bool),
        "token_ids": np.where(real, token_ids, 0).astype(np.int32),
        "image_index": np.arange(batch_size, dtype=np.int32),
    }


def random_words() -> list[str]:
    """Makes a vocabulary of Flickr30K's size."""
    special = ["<pad>", "<start>", "<end>", "<unk>"]
    return special + [f"word{i}" for i in range(VOCABULARY_SIZE - len(special))]


def check(arguments: Arguments) -> None:
    """Ends the command with one line where it cannot measure.

    Args:
        arguments: what to measure.
    """
    if arguments.preset not in PRESETS:
        sys.exit(f"error: no such preset: {arguments.preset}. There are: {', '.join(PRESETS)}")
    if arguments.steps < 1:
        sys.exit(f"error: --steps must be at least 1, not {arguments.steps}")


def measure(arguments: Arguments) -> Measurement:
    """Builds the model and runs the steps.

    Args:
        arguments: what to measure.

    Returns:
        The measurement.
    """
    import keras
    import tensorflow as tf

    from hslm_tf.models.hslm import HSLM
    from hslm_tf.training import ContrastiveLoss, HardestNegativeTripletLoss

    if arguments.threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    run = preset(arguments.preset)
    # Nothing is dropped, so that all runs, and the count of their work, have the same batch.
    config = dataclasses.replace(run.model, drop_regions=0.0, drop_words=0.0)
    before = gemm_ceiling(arguments.precision)
    model = HSLM(config, random_words(), dtype=arguments.precision)
    model.compile(
        keras.optimizers.Adam(
            run.training.learning_rate, global_clipnorm=run.training.gradient_clip
        ),
        ContrastiveLoss(run.training.contrastive_scale)
        if arguments.loss == "contrastive"
        else HardestNegativeTripletLoss(run.training.margin),
    )
    model.optimizer.build(model.trainable_variables)
    batch_size = arguments.batch_size or run.training.batch_size
    batch = random_batch(run.model, batch_size)
    tokens = int(np.count_nonzero(batch["token_ids"]))
    batch = {key: tf.constant(value) for key, value in batch.items()}
    train_step, losses = tf.function(model.train_step), []
    [seconds] = seconds_in_turns(
        [lambda: losses.append(float(train_step(batch)["loss"]))], 2 + arguments.steps
    )
    if not np.isfinite(losses[-1]):
        raise FloatingPointError(f"The loss is not finite. Received: loss={losses[-1]}")
    step, memory = float(np.median(seconds[2:])), peak_memory()
    after = gemm_ceiling(arguments.precision)
    work = sum(training_step_work(run.model, batch_size, tokens, arguments.loss).values())
    return Measurement(
        preset=arguments.preset,
        precision=arguments.precision,
        loss=arguments.loss,
        batch_size=batch_size,
        tokens=tokens,
        first_s=seconds[0],
        step_s=step,
        work_gflop=work,
        ceiling_before=before,
        ceiling_after=after,
        ratio=work / (step * max(before, after)),
        peak_memory_gb=memory,
        gpu_memory_gb=gpu_memory(),
    )


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.training_step", args=args)
    check(arguments)
    found = measure(arguments)
    sizes = preset(arguments.preset).model
    table = Table(title=f"Training step, {found.preset}, {found.precision}, {found.loss} loss")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_row("pairs of a batch", f"{found.batch_size}")
    table.add_row("regions", f"{sizes.max_regions} x {sizes.region_dim}")
    padded = found.batch_size * _LONGEST
    table.add_row("tokens of a batch, real and padded", f"{found.tokens}, {padded}")
    widths = (sizes.joint_dim, sizes.word_dim, sizes.similarity_dim)
    table.add_row("widths d1, d2, s", ", ".join(map(str, widths)))
    table.add_row("graph convolutions", f"{sizes.mgcn_layers if sizes.mgcn else 0}")
    table.add_row("threads", f"{arguments.threads or os.cpu_count()}")
    table.add_section()
    table.add_row("first step, with compilation", f"{found.first_s:.2f} s")
    table.add_row(f"step, median of {arguments.steps}", f"{found.step_s:.2f} s")
    table.add_row("pairs per second", f"{found.batch_size / found.step_s:.1f}")
    table.add_row("peak resident memory", f"{found.peak_memory_gb:.2f} GB")
    table.add_section()
    table.add_row("necessary work", f"{found.work_gflop:.0f} GFLOP")
    ceilings = f"{found.ceiling_before:.0f}, {found.ceiling_after:.0f} GFLOP/s"
    table.add_row("tf.matmul, before and after", ceilings)
    table.add_row("work / (time x ceiling)", f"{found.ratio:.2f}")
    rich.print(table)
    print(json.dumps({"benchmark": "training_step", **asdict(found)}))


if __name__ == "__main__":
    main()
