"""What an evaluation by candidates changes, by their number: recall and time against exact scores.

    python -m benchmarks.candidate_recall runs/flickr8k --split dev
    python -m benchmarks.candidate_recall runs/flickr8k --split dev --candidates 25 50 --means

Prints a table, and with --out appends JSON lines to a file.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.rows import print_rows
from hslm_tf.command_line import one_line_errors
from hslm_tf.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class Arguments:
    """Recall by candidates against exact recall."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directory of the run"""
    split: str | None = None
    """split to measure on; by default the run's test split"""
    dataset: str | None = None
    """folder or HDF5 file; by default the one that the run was trained on"""
    candidates: tuple[int, ...] = (25, 50, 100, 200)
    """numbers of candidates"""
    means: bool = False
    """plain means of the local features too, instead of the run's heads"""
    out: Path | None = None
    """file to append JSON lines to"""


def measure(arguments: Arguments) -> list[dict]:
    """Measures recall exactly, then by candidates.

    Args:
        arguments: what to measure.

    Returns:
        A row for each measurement: the exact recalls, then differences from them.
    """
    from hslm_tf.evaluation.exact_recall import evaluate_models
    from hslm_tf.retrieval.candidate_scores import CandidateScores
    from hslm_tf.retrieval.projection_heads import plain_means
    from hslm_tf.runs.opening import load_heads, load_model
    from hslm_tf.runs.splits import open_split

    run = RunDirectory(arguments.run)
    dataset = open_split(run, arguments.split or run.config().data.test_split, arguments.dataset)
    model = load_model(run.path)
    heads = {"heads": load_heads(run.path, model)}
    if not heads["heads"].teacher_fingerprint:
        heads = {}
    if arguments.means or not heads:
        heads["means"] = plain_means(model)
    blocks = {"exact": None}
    for count in arguments.candidates:
        for name, found in heads.items():
            blocks[f"{count} by {name}"] = CandidateScores([found], count)
    rows, exact = [], {}
    for name, scores in blocks.items():
        started = time.perf_counter()
        numbers = evaluate_models([model], dataset, blocks=scores).as_dict()
        seconds = time.perf_counter() - started
        recalls = {key: value for key, value in numbers.items() if not key.endswith("_rank")}
        exact = exact or recalls
        if scores is not None:
            recalls = {key: value - exact[key] for key, value in recalls.items()}
        rows.append({"candidates": name, **recalls, "seconds": seconds})
    return rows


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.candidate_recall", args=args)
    with one_line_errors():
        print_rows(measure(arguments), arguments.out)


if __name__ == "__main__":
    main()
