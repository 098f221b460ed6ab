"""Every figure of docs/performance.md in one run: training step, scores, query, input, start.

    python -m benchmarks.performance
    python -m benchmarks.performance --quick --folder /data/bench
    python -m benchmarks.performance --only training_step exact_scores

Every figure is measured in a process of its own, because of its peak of memory. Speed is compared
with that of one large matrix product, the ceiling, which is measured before and after in the same
process; the larger one counts. Takes about half an hour on two cores, and 8.5 GB of disk. Prints a
table and JSON lines.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import rich
import tyro
from rich.table import Table

Row = tuple[str, ...]

# On two cores: ratio of time and memory of a step, ratio of scores.
_STEP_AIMS = {
    ("triplet", 128, "float32"): ("ratio 0.75", "<= 2.5 GB"),
    ("triplet", 128, "mixed_bfloat16"): ("ratio 0.68", "<= 2.5 GB"),
    ("triplet", 1024, "float32"): ("", "<= 9 GB"),
}
_SCORE_AIMS = {(1000, "float32"): "ratio 0.76", (1000, "mixed_bfloat16"): "ratio 0.62"}


@dataclass(frozen=True)
class Arguments:
    """Every figure of docs/performance.md in one run."""

    quick: bool = False
    """Fewer steps and captions: minutes instead of half an hour."""

    only: tuple[str, ...] = ()
    """Measure these parts alone: training_step, large_batch, exact_scores, coco, candidates, query,
    input, startup."""

    folder: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path(tempfile.gettempdir())
    """Where the 8.5 GB file for the input pipeline is made."""


@dataclass(frozen=True)
class Part:
    """Some figures that one command measures.

    Args:
        name: what `--only` calls it.
        command: module of the command and its arguments.
        rows: makes rows of the table from a JSON line: what, value, aim, ratio to the ceiling and
            the two ceilings; a row may end earlier.
    """

    name: str
    command: Sequence[str]
    rows: Callable[[Mapping[str, Any]], list[Row]]


def parts(arguments: Arguments) -> list[Part]:
    """Lists what is measured.

    Args:
        arguments: the arguments.

    Returns:
        The parts in order.
    """
    steps = "3" if arguments.quick else "10"
    some = ["--captions", "512"]
    step = ["benchmarks.training_step", "--steps", steps]
    evaluation = ["benchmarks.streaming_evaluation"]
    # Flickr30K's test split is evaluated completely, the time for COCO's is projected from a part.
    flickr = [*evaluation, "--images", "1000", *(some if arguments.quick else [])]
    narrow = ["--precision", "mixed_bfloat16"]
    candidates = ["benchmarks.candidate_evaluation"]
    coco = ["--images", "1500" if arguments.quick else "5000", "--preset", "coco"]
    queries = ["--queries", "10" if arguments.quick else "40", "--pool", "1000"]
    search = ["benchmarks.search_latency", *queries, "--exhaustive", "0", "--out", "/dev/stdout"]
    pipeline = ["benchmarks.input_pipeline", "--folder"]
    return [
        Part("training_step", step, step_rows),
        Part("training_step", [*step, *narrow], step_rows),
        Part("training_step", [*step, "--loss", "contrastive"], step_rows),
        Part("large_batch", [*step[:1], "--batch-size", "1024", "--steps", "1"], step_rows),
        Part("exact_scores", flickr, score_rows),
        Part("exact_scores", [*flickr, *narrow], score_rows),
        Part("coco", [*evaluation, "--images", "5000", *some], score_rows),
        Part("candidates", candidates, _candidate_rows),
        Part("candidates", [*candidates, *coco], _candidate_rows),
        Part("query", search, _query_rows),
        Part("input", [*pipeline, str(arguments.folder)], _input_rows),
        Part("startup", ["benchmarks.startup"], _startup_rows),
    ]


def _speed(found: Mapping[str, Any]) -> Row:
    return f"{found['ratio']:.2f}", _ceilings(found)


def _ceilings(found: Mapping[str, Any]) -> str:
    return f"{found['ceiling_before']:.0f}, {found['ceiling_after']:.0f}"


def _seconds(seconds: float) -> str:
    """Seconds in the unit that shows them with three digits or so."""
    for unit, size, least in (("h", 3600, 2), ("min", 60, 2), ("s", 1, 0.5)):
        if seconds >= least * size:
            return f"{seconds / size:.2f} {unit}"
    return f"{1000 * seconds:.1f} ms"


def _memory(found: Mapping[str, Any]) -> str:
    gpu = found["gpu_memory_gb"]
    return f"{found['peak_memory_gb']:.2f} GB" + ("" if gpu is None else f", GPU {gpu:.2f} GB")


def step_rows(found: Mapping[str, Any]) -> list[Row]:
    """Makes the rows of a training step.

    Args:
        found: JSON line of `benchmarks.training_step`.

    Returns:
        A row of its time, and one of its memory.
    """
    key = found["loss"], found["batch_size"], found["precision"]
    name = f"{found['loss']} step of {found['batch_size']}, {found['precision']}"
    aim, memory = _STEP_AIMS.get(key, ("", ""))
    return [
        (name, _seconds(found["step_s"]), aim, *_speed(found)),
        (f"{name}, memory", _memory(found), memory),
    ]


def score_rows(found: Mapping[str, Any]) -> list[Row]:
    """Makes the rows of an exact evaluation.

    Args:
        found: JSON line of `benchmarks.streaming_evaluation`.

    Returns:
        A row of its pairs a second, and of its whole time and memory.
    """
    name = f"{found['images']:,} x {found['captions']:,} exact scores, {found['precision']}"
    aim = _SCORE_AIMS.get((found["images"], found["precision"]), "")
    projected = ", projected" if found["captions_scored"] < found["captions"] else ""
    return [
        (name, f"{found['pairs_per_s']:,.0f} pairs/s", aim, *_speed(found)),
        (f"{name}, time{projected}", _seconds(found["total_s"])),
        (f"{name}, memory", _memory(found), "< 3 GB"),
    ]


def _candidate_rows(found: Mapping[str, Any]) -> list[Row]:
    name = f"{found['images']:,} x {found['captions']:,}, {found['candidates']} candidates"
    aim = {1000: "<= 60 s", 5000: "<= 600 s"}.get(found["images"], "")
    return [
        (name, f"{found['total_s']:.0f} s", aim, "", _ceilings(found)),
        (f"{name}, memory", f"{found['peak_memory_gb']:.2f} GB"),
    ]


def _query_rows(found: Mapping[str, Any]) -> list[Row]:
    aim = "<= 32 ms" if found["direction"] == "caption to images" else ""
    name = found["direction"] + (f", {found['items']:,} items" if "items" in found else "")
    value = f"{found['p50_ms']:.1f} ms"
    if "captions_per_s" in found:
        value += f", {found['captions_per_s']:.0f} captions/s"
    return [(name, value, aim)]


def _input_rows(found: Mapping[str, Any]) -> list[Row]:
    if found["benchmark"] == "tokens":
        value = f"{found['tokenized']:.2f} s, cached {found['cached']:.2f} s"
        return [(f"tokens of {found['captions']:,} captions", value)]
    name = f"input, {found['cache']} cache"
    return [
        (f"{name}, waiting", f"{found['share']:.2%}", "< 5%"),
        (f"{name}, anonymous memory", f"{found['anonymous']:+.0f} MB", "< 300 MB"),
    ]


def _startup_rows(found: Mapping[str, Any]) -> list[Row]:
    aims = {"help": "< 1 s", "first step, sample": "<= 18 s"}
    aim = aims.get(found["until"], "")
    return [(f"start: {found['until']}", f"{found['seconds']:.2f} s", aim)]


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.performance", args=args)
    known = parts(arguments)
    if unknown := set(arguments.only) - {part.name for part in known}:
        names = ", ".join(dict.fromkeys(part.name for part in known))
        sys.exit(f"error: no such part: {', '.join(sorted(unknown))}. There are: {names}")
    chosen = [part for part in known if not arguments.only or part.name in arguments.only]
    measure_parts(chosen, "Speed and memory")


def measure_parts(parts: Sequence[Part], title: str, limit_s: float | None = None) -> None:
    """Runs the commands one after another, and prints their JSON lines and one table.

    Args:
        parts: what is measured.
        title: title of the table.
        limit_s: seconds that all may take together; what is left out then is a row that says so.

    Raises:
        CalledProcessError: if a command fails; the JSON lines of those before it are printed.
    """
    table = Table(title=title)
    for heading in ("what", "value", "aim", "ratio", "tf.matmul, GFLOP/s"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    started = time.monotonic()
    for part in parts:
        print(f"python -m {' '.join(part.command)}", file=sys.stderr, flush=True)
        left = None if limit_s is None else max(limit_s - (time.monotonic() - started), 0)
        try:
            output = subprocess.run(
                [sys.executable, "-m", *part.command],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=left,
            ).stdout
        except subprocess.TimeoutExpired:
            table.add_row(part.name, f"not measured: over {limit_s:.0f} s")
            continue
        for line in output.splitlines():
            if line.startswith("{"):
                # What was measured is there even if a later part fails.
                print(line, flush=True)
                for row in part.rows(json.loads(line)):
                    table.add_row(*row)
        table.add_section()
    rich.print(table)


if __name__ == "__main__":
    main()
