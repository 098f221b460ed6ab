"""Recall of the best models of runs: exact, by candidates, and with hubs corrected."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import hslm_tf
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.progress import ProgressBar
from hslm_tf.evaluation.evaluation_state import EvaluationState
from hslm_tf.evaluation.exact_recall import evaluate_models, evaluate_to_file
from hslm_tf.evaluation.protocols import Protocol, evaluate_scores
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.evaluation.scoring import CAPTION_BLOCK_SIZE, IMAGE_BLOCK_SIZE, score_matrix
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.hubness import HubCorrection, draw_bank
from hslm_tf.retrieval.candidate_scores import CandidateScores
from hslm_tf.runs.opening import load_heads, load_model
from hslm_tf.runs.results import exact_result, keep_recall, known_recall
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split

logger = logging.getLogger("hslm_tf")

# Runs by the name of their row in a table; the runs of one name are an ensemble.
Groups = Mapping[str, Sequence[RunDirectory]]


def evaluate_runs(
    groups: Groups,
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
        models = [load_model(run.path) for run in runs]
        truncated = models[0].tokenizer.tokenize_all(dataset.captions).num_truncated
        if truncated:
            logger.warning(
                "%s: the model truncates %d of %d captions to %d tokens",
                name,
                truncated,
                dataset.num_captions,
                models[0].config.max_tokens,
            )
        measured = exact_result(models, dataset, protocol)
        fingerprint = {
            **measured,
            "scores file": str(scores_file and scores_file.absolute()),
            "blocks": f"{IMAGE_BLOCK_SIZE} x {CAPTION_BLOCK_SIZE}",
            "versions": f"hslm_tf {hslm_tf.__version__}, TensorFlow {tf.__version__}",
        }
        state = EvaluationState(runs[0].evaluation / f"{'-'.join(parts)}.npz", fingerprint)
        states.append(state)
        if restart:
            state.clear()
        with ProgressBar(dataset.num_captions, "captions", name) as bar:
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


class CandidateRecall(NamedTuple):
    """The result of an evaluation by candidates."""

    report: RecallReport
    exact: RecallReport | None
    by_means: list[RunDirectory]


def evaluate_runs_by_candidates(
    groups: Groups,
    dataset: RetrievalDataset,
    num_candidates: int,
    protocol: Protocol = "all",
) -> dict[str, CandidateRecall]:
    """Measures the best models of runs by candidates, with a progress bar on a terminal."""
    found = {}
    for name, runs in groups.items():
        models = [load_model(run.path) for run in runs]
        heads = [load_heads(run.path, model) for run, model in zip(runs, models, strict=True)]
        with ProgressBar(dataset.num_images, "images", name) as bar:
            blocks = CandidateScores(heads, num_candidates, lambda images, _: bar.update(images))
            report = evaluate_models(models, dataset, protocol, blocks=blocks)
        found[name] = CandidateRecall(
            report,
            known_recall(runs[0], exact_result(models, dataset, protocol)),
            [run for run, head in zip(runs, heads, strict=True) if not head.teacher_fingerprint],
        )
    return found


def hub_correction(run: RunDirectory, model: HSLM) -> HubCorrection:
    """Makes the correction of a run's model, from a bank of its training split."""
    config = run.config()
    return HubCorrection(model, draw_bank(load_split(config, config.data.train_split)))


def evaluate_runs_with_hubs(
    groups: Groups,
    dataset: RetrievalDataset,
    protocol: Protocol = "all",
) -> dict[str, RecallReport]:
    """Measures the best models of runs plainly and corrected; the scores are held in memory."""
    reports = {}
    for name, runs in groups.items():
        plain = np.zeros((dataset.num_images, dataset.num_captions), np.float32)
        corrected = plain.copy()
        total = len(runs) * (dataset.num_images + 2 * dataset.num_captions)
        with ProgressBar(total, "items", name) as bar:
            for run in runs:
                model = load_model(run.path)
                scores = score_matrix(model, dataset, progress=bar.update)
                images, captions = hub_correction(run, model).of_dataset(dataset, bar.update)
                plain += scores / len(runs)
                corrected += (scores - images[:, None] - captions) / len(runs)
        owners = dataset.caption_to_image
        reports[name] = evaluate_scores(plain, owners, protocol)
        reports[f"{name}, hubs corrected"] = evaluate_scores(corrected, owners, protocol)
    return reports
