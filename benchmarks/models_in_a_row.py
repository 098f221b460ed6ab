"""Memory of a process that trains one model after another, each for a step and then forgotten.

    python -m benchmarks.models_in_a_row
    python -m benchmarks.models_in_a_row --preset sample

What a model leaves behind is the growth from the second model on: the first one also pays for
what TensorFlow makes once.
"""

import gc
import json
import sys
from dataclasses import dataclass
from typing import Annotated

import rich
import tyro
from rich.table import Table

from benchmarks import training_step
from benchmarks.machine import resident_memory


@dataclass(frozen=True)
class Arguments:
    """Memory of a process that trains one model after another."""

    models: int = 4
    """How many models."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr30k"
    """Configuration whose sizes are taken, such as flickr30k or sample."""

    batch_size: int = 16
    """Pairs of a batch."""


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.models_in_a_row", args=args)
    step = training_step.Arguments(
        steps=1, preset=arguments.preset, batch_size=arguments.batch_size
    )
    training_step.check(step)
    if arguments.models < 1:
        sys.exit(f"error: --models must be at least 1, not {arguments.models}")
    table = Table("models so far", "resident memory", title=f"Models in a row, {arguments.preset}")
    resident = []
    for number in range(arguments.models):
        training_step.measure(step)
        gc.collect()
        resident.append(sum(resident_memory()))
        table.add_row(f"{number + 1}", f"{resident[-1]:.2f} GB")
    rich.print(table)
    found = {"preset": arguments.preset, "resident_gb": resident}
    print(json.dumps({"benchmark": "models_in_a_row", **found}))


if __name__ == "__main__":
    main()
