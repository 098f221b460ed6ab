"""Time of the recurrent layer, forward and backward: Keras's, ours, its matrix products alone.

    python -m benchmarks.recurrent_layer
    python -m benchmarks.recurrent_layer --precision mixed_bfloat16

At the paper's sizes: 128 captions of 14.4 tokens on average and 27 at most, both directions.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import rich
import tyro
from rich.table import Table

from benchmarks.machine import gemm_ceiling, seconds_in_turns
from benchmarks.necessary_work import training_step_work
from benchmarks.training_step import random_batch
from hslm_tf.presets import preset


@dataclass(frozen=True)
class Arguments:
    """Time of the recurrent layer: Keras's, ours, and its matrix products alone."""

    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras precision policy."""

    runs: int = 7
    """Runs of each; the median is reported."""


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.recurrent_layer", args=args)
    import tensorflow as tf

    from hslm_tf.layers import BidirectionalGRU

    run = preset("flickr30k")
    batch_size = run.training.batch_size
    mask = random_batch(run.model, batch_size)["token_ids"] > 0
    words = np.random.default_rng(0).normal(size=(*mask.shape, run.model.word_dim))
    words = tf.constant(words, tf.float32)

    def step_of(implementation: str) -> Callable[[], object]:
        layer = BidirectionalGRU(run.model.joint_dim, implementation, dtype=arguments.precision)
        layer.build(words.shape)

        @tf.function
        def step() -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(words)
                loss = tf.reduce_sum(tf.cast(layer(words, mask=mask, training=True), tf.float32))
            return tape.gradient(loss, [words, *layer.trainable_weights])

        return step

    work = training_step_work(run.model, batch_size, int(mask.sum()))["bidirectional GRU"]
    rows = {"matrix products": work / gemm_ceiling(arguments.precision)}
    # The first turn builds the graphs.
    steps = [step_of("packed"), step_of("keras")]
    packed, by_keras = np.median(seconds_in_turns(steps, 1 + arguments.runs)[:, 1:], axis=1)
    rows |= {"ours, packed": float(packed), "Keras": float(by_keras)}
    table = Table(title=f"Bidirectional GRU, forward and backward, {arguments.precision}")
    for heading in ("what", "seconds", "of the products"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds:.3f}", f"{seconds / rows['matrix products']:.1f} x")
    rich.print(table)
    print(json.dumps({"benchmark": "recurrent_layer", "precision": arguments.precision, **rows}))


if __name__ == "__main__":
    main()
