"""Time of commands from the shell: train's help and first step, and a query's answer.

    python -m benchmarks.startup
    python -m benchmarks.startup photos.h5 --runs 3 --preset sample

Every figure is the time of a whole process, the interpreter's own start included.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import rich
import tyro
from rich.table import Table


@dataclass(frozen=True)
class Arguments:
    """Time of the help, of the first step and of a query."""

    collection: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_COLLECTION")
    ] = None
    """What `python -m hslm_tf.search` is asked; no query by default."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "sample"
    """Configuration whose first step is timed."""

    runs: int = 3
    """Processes of each kind; the median is reported."""


def seconds_of(*arguments: str) -> float:
    """Runs Python to its end.

    Args:
        *arguments: arguments of the interpreter.

    Returns:
        Seconds.
    """
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - started


def seconds_to_first_step(preset: str) -> float:
    """Starts training and stops it after the first step.

    Args:
        preset: name of the preset.

    Returns:
        Seconds from the start of the process to the line about its first step.

    Raises:
        RuntimeError: if training ended before it.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hslm_tf.train", "--preset", preset]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--out", f"{folder}/run"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            for line in process.stderr:
                if line.startswith("First step"):
                    return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()
    raise RuntimeError(f"{' '.join(command)} ended before its first step")


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.startup", args=args)
    measured = {
        "help": lambda: seconds_of("-m", "hslm_tf.train", "--help"),
        "import nothing": lambda: seconds_of("-c", "pass"),
        "import hslm_tf": lambda: seconds_of("-c", "import hslm_tf"),
        "import tensorflow": lambda: seconds_of("-c", "import tensorflow"),
        "import hslm_tf.runs.experiment": lambda: seconds_of(
            "-c", "import hslm_tf.runs.experiment"
        ),
        f"first step, {arguments.preset}": lambda: seconds_to_first_step(arguments.preset),
    }
    if arguments.collection is not None:
        query = ["-m", "hslm_tf.search", str(arguments.collection), "a dog runs through the snow"]
        measured["answer of search"] = lambda: seconds_of(*query)
    table = Table(title=f"Start, median of {arguments.runs}")
    table.add_column("until")
    table.add_column("seconds", justify="right")
    rows = []
    for name, measure in measured.items():
        seconds = statistics.median(measure() for _ in range(arguments.runs))
        table.add_row(name, f"{seconds:.2f}")
        rows.append({"benchmark": "startup", "until": name, "seconds": seconds})
    rich.print(table)
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
