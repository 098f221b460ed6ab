"""`python -m hslm_tf.evaluate`: recall of trained runs, one by one, or as an ensemble."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hslm_tf.command_line import one_line_errors, print_table
from hslm_tf.evaluation.protocols import Protocol
from hslm_tf.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from hslm_tf.data.dataset import RetrievalDataset


@dataclass(frozen=True)
class EvaluateArguments:
    """Measure trained runs by exact scores of all images against all captions, or by candidates.

    Memory holds the encoded images, not the matrix of scores. An evaluation that was stopped
    continues where it was when it is started again.

    Several runs are reported one by one, with mean and standard deviation; with --ensemble their
    scores are averaged, as the headline rows of SCAN and SGRAF do.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directories of runs"""
    split: str | None = None
    """split to measure on; by default the run's test split"""
    protocol: Protocol = "all"
    """1k: 1,000 images; 5k: 5,000 images; coco-1k: mean of five folds of 1,000 of 5,000 images;
    all: whatever there is"""
    ensemble: bool = False
    """average the scores of the runs"""
    dataset: str | None = None
    """folder or HDF5 file to measure on; by default the one that the run was trained on"""
    save_scores: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write the matrix of scores, images x captions, to this .npy file (one run or an ensemble)"""
    candidates: Annotated[int | None, tyro.conf.arg(metavar="K")] = None
    """compute the exact score of each query's K nearest items by the vectors of the projection
    heads only (`python -m hslm_tf.index RUN` fits them; without them by plain means); the others
    rank behind by their vectors: approximate, and much faster"""
    restart: bool = False
    """begin again instead of continuing an evaluation that was stopped"""
    correct_hubs: bool = False
    """measure also with scores corrected for hubs, items that are near to everything, as a bank of
    700 images and 2,000 captions of the training split shows them"""
    pointing: bool = False
    """instead of recall, measure whether nouns point at what they name; needs boxes and what a
    detector saw in them ({split}_box_class.npy and {split}_box_score.npy)"""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hslm_tf").setLevel(logging.INFO)
    arguments = tyro.cli(EvaluateArguments, prog="python -m hslm_tf.evaluate", args=args)
    with one_line_errors():
        _run(arguments)


def _run(arguments: EvaluateArguments) -> None:
    if not arguments.runs:
        raise ValueError("name at least one run")
    if arguments.save_scores and len(arguments.runs) > 1 and not arguments.ensemble:
        raise ValueError("--save-scores takes one run, or several with --ensemble")
    if arguments.save_scores and not arguments.save_scores.parent.is_dir():
        raise FileNotFoundError(f"{arguments.save_scores}: there is no such folder")
    if arguments.candidates is not None:
        if arguments.candidates < 1:
            raise ValueError(f"--candidates takes a number from 1, not {arguments.candidates}")
        if arguments.save_scores or arguments.restart:
            raise ValueError("--save-scores and --restart are for exact scores: not --candidates")
    streamed = (arguments.save_scores, arguments.candidates, arguments.restart)
    if arguments.correct_hubs and any(streamed):
        raise ValueError("--correct-hubs: not with --save-scores, --candidates or --restart")
    if arguments.pointing and (any(streamed) or arguments.ensemble or arguments.correct_hubs):
        raise ValueError(
            "--pointing measures no recall: not with --save-scores, --candidates, --restart, "
            "--ensemble or --correct-hubs"
        )
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.evaluation.protocols import check_protocol
    from hslm_tf.evaluation.table import report_table
    from hslm_tf.runs.evaluation import evaluate_runs
    from hslm_tf.runs.splits import open_common_split

    runs = [RunDirectory(path) for path in arguments.runs]
    # Scoring takes long, so everything is checked before.
    dataset = open_common_split(runs, arguments.split, arguments.dataset)
    check_protocol(arguments.protocol, dataset.num_images)
    if arguments.pointing:
        _pointing(runs, dataset)
        return
    groups = {str(run.path): [run] for run in runs}
    if arguments.ensemble:
        groups = {f"ensemble of {len(runs)}": runs}
    title = f"{dataset.name}, {dataset.num_images} images, protocol {arguments.protocol}"
    if arguments.candidates is not None:
        _by_candidates(arguments, groups, dataset, title)
        return
    if arguments.correct_hubs:
        from hslm_tf.runs.hub_evaluation import evaluate_runs_with_hubs

        reports = evaluate_runs_with_hubs(groups, dataset, arguments.protocol)
        print_table(report_table(reports, title=title))
        return
    reports = evaluate_runs(
        groups, dataset, arguments.protocol, arguments.save_scores, arguments.restart
    )
    print_table(report_table(reports, title=title, mean=True))


def _pointing(runs: Sequence[RunDirectory], dataset: "RetrievalDataset") -> None:
    from hslm_tf.report.pointing import measure_pointing, pointing_table, read_detections
    from hslm_tf.runs.opening import load_model

    detections = read_detections(dataset)
    if detections is None:
        raise FileNotFoundError(
            f"{dataset.source}: pointing needs {dataset.name}_boxes.npy, "
            f"{dataset.name}_box_class.npy and {dataset.name}_box_score.npy beside it"
        )
    for run in runs:
        pointing = measure_pointing(load_model(run.path), dataset, detections)
        if not pointing.words:
            raise ValueError(
                f"{dataset.source}: no noun of the captions names an object that was detected"
            )
        print_table(pointing_table(pointing, str(run.path)).rich())


def _by_candidates(
    arguments: EvaluateArguments,
    groups: Mapping[str, Sequence[RunDirectory]],
    dataset: "RetrievalDataset",
    title: str,
) -> None:
    from hslm_tf.evaluation.table import comparison_table, report_table
    from hslm_tf.runs.candidate_evaluation import evaluate_runs_by_candidates

    found = evaluate_runs_by_candidates(groups, dataset, arguments.candidates, arguments.protocol)
    title += f", candidates {arguments.candidates}, approximate"
    if any(result.by_means for result in found.values()):
        title += ", found by plain means"
    reports = {name: result.report for name, result in found.items()}
    known = {name: result for name, result in found.items() if result.exact is not None}
    if len(known) == len(found) == 1:
        for name, result in known.items():
            print_table(comparison_table(name, result.report, result.exact, title))
    else:
        print_table(report_table(reports, title=title, mean=True))
        for name, result in known.items():
            print_table(comparison_table(name, result.report, result.exact, "against exact"))
    for run in dict.fromkeys(run.path for result in found.values() for run in result.by_means):
        print(
            f"{run} has no projection heads: plain means of the local features found the "
            f"candidates. `python -m hslm_tf.index {run}` fits heads, which find better ones"
        )
    for name in found:
        if name not in known:
            print(f"{name}: the exact result is not known; without --candidates it is computed")


if __name__ == "__main__":
    main()
