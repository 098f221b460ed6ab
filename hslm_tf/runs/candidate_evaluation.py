"""Recall of the best models of runs by candidates: minutes in place of hours, and approximate."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tqdm import tqdm

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.exact_recall import evaluate_models
from hslm_tf.evaluation.protocols import Protocol
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.retrieval.candidate_scores import CandidateScores
from hslm_tf.runs.opening import load_heads, load_model
from hslm_tf.runs.results import exact_result, known_recall
from hslm_tf.runs.run_directory import RunDirectory


class CandidateRecall(NamedTuple):
    """What an evaluation by candidates found."""

    report: RecallReport
    exact: RecallReport | None
    by_means: list[RunDirectory]


def evaluate_runs_by_candidates(
    groups: Mapping[str, Sequence[RunDirectory]],
    dataset: RetrievalDataset,
    num_candidates: int,
    protocol: Protocol = "all",
) -> dict[str, CandidateRecall]:
    """Measures the best models of runs by candidates, with a progress bar on a terminal."""
    found = {}
    for name, runs in groups.items():
        models = [load_model(run.path) for run in runs]
        heads = [load_heads(run.path, model) for run, model in zip(runs, models, strict=True)]
        with tqdm(total=dataset.num_images, desc=name, unit=" images", disable=None) as bar:
            blocks = CandidateScores(heads, num_candidates, lambda images, _: bar.update(images))
            report = evaluate_models(models, dataset, protocol, blocks=blocks)
        found[name] = CandidateRecall(
            report,
            known_recall(runs[0], exact_result(models, dataset, protocol)),
            [run for run, own in zip(runs, heads, strict=True) if not own.teacher_fingerprint],
        )
    return found
