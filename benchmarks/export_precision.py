"""Export of a model in every precision: time, size, scores, and recall on real data.

    python -m benchmarks.export_precision                      # random weights, the paper's sizes
    python -m benchmarks.export_precision --run runs/flickr8k --split dev

The exported scores are compared with those of the model in this process, with its own weights and
with weights rounded as they are stored. Recall is that of the rounded weights.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import tyro

from benchmarks.rows import print_rows
from benchmarks.serving_requests import model_to_export, own_scores, random_request
from hslm_tf.command_line import one_line_errors
from hslm_tf.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class Arguments:
    """Export of a model in every precision."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr30k"
    """configuration whose sizes are taken, with random weights"""
    run: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """directory of a trained run instead; then recall on a split is measured, too"""
    dataset: str | None = None
    """folder or HDF5 file; by default the one that the run was trained on"""
    split: str | None = None
    """split; by default the run's test split"""
    pairs: int = 64
    """pairs whose scores are compared"""
    out: Path | None = None
    """file to append JSON lines to"""


def measure(arguments: Arguments) -> list[dict]:
    """Exports and compares.

    Args:
        arguments: what to measure.

    Returns:
        A row for every precision.
    """
    import tensorflow as tf

    from hslm_tf.evaluation.exact_recall import evaluate as recall_of
    from hslm_tf.runs.splits import open_split
    from hslm_tf.serving.precision import Precision, StoredWeights
    from hslm_tf.serving.savedmodel import export_model

    dataset = None
    if arguments.run is not None:
        dataset = open_split(RunDirectory(arguments.run), arguments.split, arguments.dataset)
    model = model_to_export(arguments.preset, arguments.run)
    request = random_request(model, arguments.pairs, seed=0)
    exact, expected = model.get_weights(), own_scores(model, request)
    rows = []
    for precision in get_args(Precision):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            path = export_model(model, Path(folder), precision=precision)
            row = {"precision": precision, "export_s": time.perf_counter() - started}
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            endpoint = tf.saved_model.load(str(path)).signatures["score"]
            inputs = {name: tf.constant(value) for name, value in request.items()}
            scores = endpoint(**inputs)["score"].numpy()
        stored = StoredWeights(model.weights, precision)
        model.set_weights([module().numpy() for module in stored.modules])
        rounded = own_scores(model, request)
        row |= {
            "megabytes": size / 1e6,
            "difference": _scientific(np.abs(scores - expected).max()),
            "to_rounded": _scientific(np.abs(scores - rounded).max()),
        }
        if dataset is not None:
            report = recall_of(model, dataset)
            for name, direction in (("i2t", report.i2t), ("t2i", report.t2i)):
                row |= {f"{name}_r{k}": getattr(direction, f"r{k}") for k in (1, 5, 10)}
            row["rsum"] = report.rsum
        model.set_weights(exact)
        rows.append(row)
    return rows


def _scientific(value: float) -> str:
    return f"{value:.1e}"


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.export_precision", args=args)
    with one_line_errors():
        print_rows(measure(arguments), arguments.out)


if __name__ == "__main__":
    main()
