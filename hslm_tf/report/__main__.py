"""`python -m hslm_tf.report`: a page on runs, on what they learnt and where they fail."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hslm_tf.command_line import command, load_extra
from hslm_tf.data.progress import ProgressBar
from hslm_tf.evaluation.protocols import Protocol
from hslm_tf.report.run_sections import MeasuredRun, read_log
from hslm_tf.runs.ablation import finished_runs, read_recall, row_of
from hslm_tf.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    import numpy as np

    from hslm_tf.data.dataset import RetrievalDataset
    from hslm_tf.models.hslm import HSLM

_MOST_FAILURES = 1000

logger = logging.getLogger("hslm_tf")


@dataclass(frozen=True)
class ReportArguments:
    """Write a page on runs: configuration, learning curves, recall, ranks, scores and failures.

    With several runs, the page has the recall of each, with mean and standard deviation; ranks,
    scores and failures are those of the first. With an ablation's directory, recall is read from
    its runs, and the rest is that of the best of them. Needs the extra `report`.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directories of runs, or the one directory of an ablation"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """folder to write index.html, report.md and CSV files to; it is new or empty"""
    split: str | None = None
    """split to measure on; by default the run's test split"""
    protocol: Protocol = "all"
    """1k: 1,000 images; 5k: 5,000 images; coco-1k: mean of five folds of 1,000 of 5,000 images;
    all: all images of the split"""
    dataset: str | None = None
    """folder or HDF5 file to measure on; by default the one that the run was trained on"""
    failures: int = 20
    """failures to list in each direction, at most 1,000"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the image files, for small pictures"""


def run(arguments: ReportArguments) -> None:
    """Runs the command."""
    _check(arguments)
    runs = [RunDirectory(path) for path in dict.fromkeys(arguments.runs)]
    ablation = []
    if len(runs) == 1 and not runs[0].config_file.exists():
        ablation = finished_runs(runs[0].path)
    if ablation and (arguments.split or arguments.dataset or arguments.protocol != "all"):
        raise ValueError(
            f"{runs[0].path} is an ablation, whose runs have been measured: --split, --dataset and "
            "--protocol are for runs"
        )
    runs = ablation or runs
    configs = [run.config() for run in runs]
    logs = [read_log(run.log_file) for run in runs]
    logger.info("Opening %s", ", ".join(str(run.path) for run in runs))
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.evaluation.protocols import check_protocol, evaluate_scores
    from hslm_tf.report.html_report import report_sections, write_report
    from hslm_tf.runs.recipe import losses_by_epoch
    from hslm_tf.runs.splits import measured_split, open_common_split, open_split

    if ablation:
        recalls = [read_recall(run) for run in runs]
        shown = max(range(len(runs)), key=lambda number: recalls[number].rsum)
        dataset = open_split(runs[shown], measured_split(configs[shown]))
        model, scores = _score(runs[shown], dataset)
    else:
        dataset = open_common_split(runs, arguments.split, arguments.dataset)
        check_protocol(arguments.protocol, dataset.num_images)
        recalls, shown = [], 0
        # The first comes last: its scores are kept.
        for run in reversed(runs):
            model, scores = _score(run, dataset)
            report = evaluate_scores(scores, dataset.caption_to_image, arguments.protocol)
            recalls.insert(0, report)
    names = _names(runs)
    measured = [
        MeasuredRun(*values, row_of(run), losses_by_epoch(run.config()))
        for *values, run in zip(names, configs, logs, recalls, runs, strict=True)
    ]
    logger.info("Ranks, failures and figures of %s", names[shown])
    sections = report_sections(
        measured, model, dataset, scores, arguments.protocol, arguments.failures, arguments.images
    )
    text = [
        f"Measured on {dataset.name!r} of {dataset.source}: {dataset.num_images} images, "
        f"{dataset.num_captions} captions, protocol {arguments.protocol}."
    ]
    if len(runs) > 1:
        text.append(f"Ranks, scores and failures are those of {names[shown]}.")
    others = f" and {len(names) - 3} more" if len(names) > 3 else ""
    title = f"Report on {', '.join(names[:3])}{others}"
    write_report(arguments.out.resolve(), title, text, sections)
    print(f"Report: {arguments.out / 'index.html'}")


def _check(arguments: ReportArguments) -> None:
    """Refuses wrong arguments before anything slow begins."""
    if not arguments.runs:
        raise ValueError("name at least one run")
    if not 1 <= arguments.failures <= _MOST_FAILURES:
        raise ValueError(f"--failures is 1 to {_MOST_FAILURES}. Received: {arguments.failures}")
    out = arguments.out
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not an empty folder: choose another --out")
    if arguments.images is not None and not arguments.images.is_dir():
        raise FileNotFoundError(f"{arguments.images}: there is no such folder")
    for package in ("jinja2", "matplotlib"):
        load_extra(package, "report")


def _score(run: RunDirectory, dataset: "RetrievalDataset") -> "tuple[HSLM, np.ndarray]":
    from hslm_tf.evaluation.scoring import score_matrix
    from hslm_tf.runs.opening import load_model

    size = dataset.num_images, dataset.num_captions
    logger.info("Scoring %d images with %d captions: %s", *size, run.path)
    model = load_model(run.path)
    with ProgressBar(dataset.num_captions, "captions", str(run.path)) as bar:
        return model, score_matrix(model, dataset, progress=bar.update)


def _names(runs: Sequence[RunDirectory]) -> list[str]:
    """The names of the directories, or the paths if names are equal."""
    names = [run.path.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


main = command("report", run)


if __name__ == "__main__":
    main()
