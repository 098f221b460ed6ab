"""`python -m hslm_tf.evaluate`: recall of trained runs, one by one, or as an ensemble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hslm_tf.command_line import command, print_table
from hslm_tf.evaluation.protocols import Protocol
from hslm_tf.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from hslm_tf.data.dataset import RetrievalDataset

Groups = Mapping[str, Sequence[RunDirectory]]


@dataclass(frozen=True)
class _SplitArguments:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directories of runs"""
    split: str | None = None
    """split to measure on; by default the run's test split"""
    dataset: str | None = None
    """folder or HDF5 file to measure on; by default the one that the run was trained on"""


@dataclass(frozen=True)
class _RecallArguments(_SplitArguments):
    protocol: Protocol = "all"
    """1k: 1,000 images; 5k: 5,000 images; coco-1k: mean of five folds of 1,000 of 5,000 images;
    all: whatever there is"""
    ensemble: bool = False
    """average the scores of the runs, as the headline rows of SCAN and SGRAF do; else the table has
    every run, and mean and standard deviation"""


@dataclass(frozen=True)
class ExactArguments(_RecallArguments):
    """Recall by exact scores of all images against all captions; needs no name: `evaluate RUN`.

    Memory holds the encoded images, not the matrix of scores. An evaluation that was stopped
    continues where it was when it is started again.
    """

    save_scores: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write the matrix of scores, images x captions, to this .npy file (one run or an ensemble)"""
    restart: bool = False
    """begin again instead of continuing an evaluation that was stopped"""


@dataclass(frozen=True)
class CandidatesArguments(_RecallArguments):
    """Approximate recall in a fraction of the time: only candidates get an exact score.

    The vectors of the projection heads (`python -m hslm_tf.index heads RUN`), or without heads
    plain means, find each query's candidates; the other items rank behind by their vectors.
    """

    num_candidates: int = 100
    """items of each query that get an exact score"""


@dataclass(frozen=True)
class HubsArguments(_RecallArguments):
    """Recall plain and corrected for hubs, items that are near to everything.

    A bank of 700 images and 2,000 captions of the training split shows which items are.
    """


@dataclass(frozen=True)
class PointingArguments(_SplitArguments):
    """Do nouns point at what they name?

    Needs boxes and what a detector saw in them ({split}_box_class.npy, {split}_box_score.npy).
    """


def exact(arguments: ExactArguments) -> None:
    """Runs `exact`."""
    if arguments.save_scores and len(arguments.runs) > 1 and not arguments.ensemble:
        raise ValueError("--save-scores takes one run, or several with --ensemble")
    if arguments.save_scores and not arguments.save_scores.parent.is_dir():
        raise FileNotFoundError(f"{arguments.save_scores}: there is no such folder")
    groups, dataset, title = _opened(arguments)
    from hslm_tf.evaluation.table import report_table
    from hslm_tf.runs.evaluation import evaluate_runs

    reports = evaluate_runs(
        groups, dataset, arguments.protocol, arguments.save_scores, arguments.restart
    )
    print_table(report_table(reports, title=title, mean=True))


def candidates(arguments: CandidatesArguments) -> None:
    """Runs `candidates`."""
    if arguments.num_candidates < 1:
        raise ValueError(f"--num-candidates is at least 1. Received: {arguments.num_candidates}")
    groups, dataset, title = _opened(arguments)
    from hslm_tf.evaluation.table import comparison_table, report_table
    from hslm_tf.runs.evaluation import evaluate_runs_by_candidates

    results = evaluate_runs_by_candidates(
        groups, dataset, arguments.num_candidates, arguments.protocol
    )
    title += f", candidates {arguments.num_candidates}"
    few = arguments.num_candidates < max(dataset.num_images, dataset.num_captions)
    title += ", approximate" if few else ": all items, exact"
    if few and any(result.by_means for result in results.values()):
        title += ", found by plain means"
    reports = {name: result.report for name, result in results.items()}
    known = {name: result for name, result in results.items() if result.exact is not None}
    if len(known) == len(results) == 1:
        for name, result in known.items():
            print_table(comparison_table(name, result.report, result.exact, title))
    else:
        print_table(report_table(reports, title=title, mean=True))
        for name, result in known.items():
            print_table(comparison_table(name, result.report, result.exact, "against exact"))
    for run in dict.fromkeys(run.path for result in results.values() for run in result.by_means):
        print(
            f"{run} has no projection heads: plain means of the local features found the "
            f"candidates. `python -m hslm_tf.index heads {run}` fits heads, which find better ones"
        )
    for name in results.keys() - known.keys():
        print(f"{name}: the exact result is not known; `hslm_tf.evaluate exact` computes it")


def hubs(arguments: HubsArguments) -> None:
    """Runs `hubs`."""
    groups, dataset, title = _opened(arguments)
    from hslm_tf.evaluation.table import report_table
    from hslm_tf.runs.evaluation import evaluate_runs_with_hubs

    reports = evaluate_runs_with_hubs(groups, dataset, arguments.protocol)
    print_table(report_table(reports, title=title))


def pointing(arguments: PointingArguments) -> None:
    """Runs `pointing`."""
    runs, dataset = _opened_split(arguments)
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


def _opened_split(arguments: _SplitArguments) -> "tuple[list[RunDirectory], RetrievalDataset]":
    if not arguments.runs:
        raise ValueError("name at least one run")
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.runs.splits import open_common_split

    runs = [RunDirectory(path) for path in arguments.runs]
    return runs, open_common_split(runs, arguments.split, arguments.dataset)


def _opened(arguments: _RecallArguments) -> "tuple[Groups, RetrievalDataset, str]":
    """Runs by the name of their row, the split, and the title of the table."""
    runs, dataset = _opened_split(arguments)
    from hslm_tf.evaluation.protocols import check_protocol

    # Scoring takes long, so everything is checked before.
    check_protocol(arguments.protocol, dataset.num_images)
    groups = {str(run.path): [run] for run in runs}
    if arguments.ensemble:
        groups = {f"ensemble of {len(runs)}": runs}
    title = f"{dataset.name}, {dataset.num_images} images, protocol {arguments.protocol}"
    return groups, dataset, title


main = command("evaluate", exact, candidates, hubs, pointing)


if __name__ == "__main__":
    main()
