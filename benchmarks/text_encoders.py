"""What a pretrained text encoder costs beside the BiGRU: weights, a step, an epoch, a query.

    python -m benchmarks.text_encoders data/flickr8k
    python -m benchmarks.text_encoders data/flickr8k --precision mixed_bfloat16 --freeze-layers 6 4

Steps of all models are taken in turns, so that their ratios hold on a noisy machine.
"""

import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.machine import seconds_in_turns
from benchmarks.rows import print_rows


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Cost of text encoders."""

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """data set with the regions of the preset flickr8k/minilm"""
    text_backbone: str = "minilm"
    """pretrained BERT"""
    freeze_layers: tuple[int, ...] = (6, 5)
    """a model for each: layers that stay as they came"""
    precision: str = "float32"
    """Keras precision policy"""
    steps: int = 5
    """timed steps and queries of each model"""
    batch_size: int = 256
    """pairs of a step"""


def measure(arguments: Arguments) -> list[dict[str, Any]]:
    """Measures every model.

    Args:
        arguments: what to measure.

    Returns:
        A row a model: its name, millions of weights and of those that learn, median
        milliseconds of a step and of a query's text with their ratios to the first model's, minutes
        of an epoch.
    """
    import tensorflow as tf

    from hslm_tf.config import RunConfig
    from hslm_tf.data.loading import load_dataset
    from hslm_tf.data.pipeline import steps_per_epoch, training_batches
    from hslm_tf.presets import preset
    from hslm_tf.runs.recipe import loss_of, new_model, optimizer_of, training_tokens
    from hslm_tf.runs.token_states import token_states

    dataset = load_dataset(arguments.data, "train")
    steps = steps_per_epoch(dataset, arguments.batch_size)
    gru, transformer = preset("flickr8k"), preset("flickr8k/minilm")

    def config(base: RunConfig, **changes: Any) -> RunConfig:
        model = {"region_dim": dataset.region_dim, "max_regions": dataset.max_regions, **changes}
        return dataclasses.replace(
            base,
            model=dataclasses.replace(base.model, **model),
            training=dataclasses.replace(base.training, precision=arguments.precision),
        )

    configs = {"BiGRU": config(gru)}
    data = dataclasses.replace(transformer.data, text_backbone=arguments.text_backbone)
    for frozen in arguments.freeze_layers:
        changed = config(dataclasses.replace(transformer, data=data), freeze_layers=frozen)
        configs[f"transformer, {frozen} layers frozen"] = changed
    rows, step_of, query_of = [], [], []
    for name, run in configs.items():
        model = new_model(run, dataset.captions)
        model.compile(
            optimizer_of(run.training, run.model, steps), loss_of(run.training, run.model, steps)
        )
        model.optimizer.build(model.trainable_variables)
        tokens = training_tokens(model, dataset.captions)
        states = token_states(model, tokens)
        batches = training_batches(dataset, tokens, arguments.batch_size, states=states)
        step = tf.function(model.train_step, [batches.element_spec], autograph=False)
        iterator = iter(batches)
        step_of.append(lambda step=step, iterator=iterator: step(next(iterator)))
        query_of.append(lambda model=model: model.encode_text(["a dog runs through the snow"]))
        rows.append(
            {
                "model": name,
                "weights_m": _millions(model.weights),
                "learning_m": _millions(model.trainable_weights),
            }
        )
    for key, functions in (("step", step_of), ("query", query_of)):
        # The first turn builds the graphs.
        seconds = seconds_in_turns(functions, 1 + arguments.steps)[:, 1:]
        for row, of_row in zip(rows, seconds, strict=True):
            row[f"{key}_ms"] = 1000 * statistics.median(of_row)
            row[f"{key}_ratio"] = row[f"{key}_ms"] / rows[0][f"{key}_ms"]
    for row in rows:
        row["epoch_min"] = row["step_ms"] * steps / 60_000
    return rows


def _millions(weights: list) -> float:
    import numpy as np

    return sum(int(np.prod(weight.shape)) for weight in weights) / 1e6


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    print_rows(measure(tyro.cli(Arguments, args=args, prog="python -m benchmarks.text_encoders")))


if __name__ == "__main__":
    main(sys.argv[1:])
