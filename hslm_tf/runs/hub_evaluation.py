"""Recall of the best models of runs with the scores of hubs corrected, beside the plain one."""

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.protocols import Protocol, evaluate_scores
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.hubness import HubCorrection, draw_bank
from hslm_tf.runs.opening import load_model
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split


def hub_correction(run: RunDirectory, model: HSLM) -> HubCorrection:
    """Makes the correction of a run's model, from a bank of its training split."""
    config = run.config()
    return HubCorrection(model, draw_bank(load_split(config, config.data.train_split)))


def evaluate_runs_with_hubs(
    groups: Mapping[str, Sequence[RunDirectory]],
    dataset: RetrievalDataset,
    protocol: Protocol = "all",
) -> dict[str, RecallReport]:
    """Measures the best models of runs plainly and corrected; the scores are held in memory."""
    reports = {}
    for name, runs in groups.items():
        plain = np.zeros((dataset.num_images, dataset.num_captions), np.float32)
        corrected = plain.copy()
        total = len(runs) * (dataset.num_images + 2 * dataset.num_captions)
        with tqdm(total=total, desc=name, unit=" items", disable=None) as bar:
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
