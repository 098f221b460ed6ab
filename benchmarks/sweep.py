"""Trains a list of configurations one after another and writes one table of them.

    python -m benchmarks.sweep benchmarks/diagnosis.txt --out runs/diagnosis

Each line of the list is a name, a colon and flags of `python -m hslm_tf.train`; empty lines and
lines that begin with # are left out. Every configuration is trained with each seed in a process of
its own, its output beside its run. The same command again continues where it was stopped, and the
table, `table.md`, is written anew after every run. A run that fails does not stop the others.
"""

import csv
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hslm_tf.command_line import one_line_errors
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.train import parse


@dataclass(frozen=True)
class Arguments:
    """Train a list of configurations one after another."""

    list: Annotated[Path, tyro.conf.Positional]
    """File of names and flags."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the runs and of the table."""

    seeds: int = 1
    """Seeds of each configuration, counted from 0."""

    flags: str = ""
    """Flags for all configurations, before their own."""


def read_list(path: Path) -> dict[str, list[str]]:
    """Reads a list of configurations.

    Args:
        path: the file.

    Returns:
        Flags by name, in the order of the file.

    Raises:
        ValueError: if a line has no name or flags that no shell would read, or a name stands twice.
    """
    found: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, flags = line.partition(":")
        name = name.strip()
        if not colon or not name or "/" in name or name in found:
            raise ValueError(f"{path}, line {number}: expected a new name, a colon and flags")
        try:
            found[name] = shlex.split(flags)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return found


def train(flags: list[str], run: RunDirectory) -> None:
    """Trains or continues one run in a process of its own; a complete one stays as it is.

    Args:
        flags: flags of the training command.
        run: the run's directory; what the process prints is in `output.txt` there.

    Raises:
        ChildProcessError: if the process failed.
        ValueError: if the directory holds a run with other flags.
    """
    if run.config_file.exists():
        if run.config() != parse(flags).config.with_absolute_paths():
            raise ValueError(f"{run.path} holds a run with other flags: choose another --out")
        if (run.path / "done").exists():
            return
        flags = ["--resume", str(run.path)]
    else:
        flags = [*flags, "--out", str(run.path)]
    command = [sys.executable, "-m", "hslm_tf.train", *flags]
    print(run.path, flush=True)
    run.path.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with open(run.path / "output.txt", "a", encoding="utf-8") as output:
        done = subprocess.run(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise ChildProcessError(f"{shlex.join(command)} failed: see {run.path / 'output.txt'}")
    minutes = (time.perf_counter() - started) / 60
    (run.path / "done").write_text(f"{minutes:.2f}\n", "utf-8")


def table(runs: dict[str, list[RunDirectory]]) -> str:
    """Writes what the runs have reached as a Markdown table.

    Args:
        runs: the runs of each configuration, one a seed; those not begun are left out.

    Returns:
        A line a configuration: best dev rsum of each seed and its mean, rsum by epoch where it was
        measured, loss of the last epoch, mean minutes of the processes that ended its runs.
    """
    lines = [
        "| configuration | best dev rsum | mean | by epoch (first seed) | last loss | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in runs.items():
        found = [run for run in found if run.progress["measured_epoch"]]
        if not found:
            continue
        rows = _rows(found[0])
        best = [run.progress["best_rsum"] for run in found]
        curve = ", ".join(
            f"{float(row['val_rsum']):.0f} ({int(row['epoch']) + 1})"
            for row in rows
            if row["val_rsum"] != "nan"
        )
        ended = [run.path / "done" for run in found if (run.path / "done").exists()]
        minutes = statistics.mean(float(path.read_text()) for path in ended) if ended else 0.0
        lines.append(
            f"| {name} | {', '.join(f'{rsum:.1f}' for rsum in best)} "
            f"| {statistics.mean(best):.1f} | {curve} | {float(rows[-1]['loss']):.3f} "
            f"| {minutes:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _rows(run: RunDirectory) -> list[dict[str, str]]:
    with open(run.log_file, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.sweep", args=args)
    with one_line_errors():
        if arguments.seeds < 1:
            raise ValueError(f"--seeds must be at least 1. Received: {arguments.seeds}")
        configurations = read_list(arguments.list)
        shared, failures = shlex.split(arguments.flags), []
        for flags in configurations.values():
            # A mistake in the last line should not wait for all the others.
            parse([*shared, *flags])
        runs: dict[str, list[RunDirectory]] = {name: [] for name in configurations}
        for seed in range(arguments.seeds):
            for name, flags in configurations.items():
                run = RunDirectory(arguments.out / f"{name}-{seed}")
                runs[name].append(run)
                try:
                    train([*shared, *flags, "--seed", str(seed)], run)
                except ChildProcessError as error:
                    print(error, flush=True)
                    failures.append(name)
                (arguments.out / "table.md").write_text(table(runs), "utf-8")
        print(table(runs))
        if failures:
            raise ChildProcessError(f"{len(failures)} runs failed: {', '.join(failures)}")


if __name__ == "__main__":
    main()
