"""Recall of the best models of runs; an evaluation that is killed can be continued."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

import hslm_tf
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.evaluation_state import EvaluationState
from hslm_tf.evaluation.exact_recall import evaluate_models, evaluate_to_file
from hslm_tf.evaluation.protocols import Protocol
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.evaluation.scoring import CAPTION_BLOCK_SIZE, IMAGE_BLOCK_SIZE
from hslm_tf.runs.checkpoints import load_whole
from hslm_tf.runs.results import exact_result, keep_recall
from hslm_tf.runs.run_directory import RunDirectory


def evaluate_runs(
    groups: Mapping[str, Sequence[RunDirectory]],
    dataset: RetrievalDataset,
    protocol: Protocol = "all",
    scores_file: Path | None = None,
    restart: bool = False,
) -> dict[str, RecallReport]:
    """Measures the best models of runs exactly, with a progress bar on a terminal."""
    reports, states = {}, []
    for name, runs in groups.items():
        parts = [dataset.name, protocol]
        parts += ["ensemble"] if len(runs) > 1 else []
        parts += ["scores"] if scores_file else []
        models = [load_whole(run.best_model) for run in runs]
        measured = exact_result(models, dataset, protocol)
        identity = {
            **measured,
            "scores file": str(scores_file and scores_file.absolute()),
            "blocks": f"{IMAGE_BLOCK_SIZE} x {CAPTION_BLOCK_SIZE}",
            "versions": f"hslm_tf {hslm_tf.__version__}, TensorFlow {tf.__version__}",
        }
        state = EvaluationState(runs[0].evaluation / f"{'-'.join(parts)}.npz", identity)
        states.append(state)
        if restart:
            state.clear()
        with tqdm(total=dataset.num_captions, desc=name, unit=" captions", disable=None) as bar:
            if scores_file is None:
                report = evaluate_models(models, dataset, protocol, state, bar.update)
            else:
                report = evaluate_to_file(models, dataset, scores_file, protocol, state, bar.update)
        reports[name] = report
        keep_recall(runs[0], measured, report)
    for state in states:
        state.clear()
        # Not empty where another evaluation of the run has left its progress.
        with contextlib.suppress(OSError):
            state.path.parent.rmdir()
    return reports
