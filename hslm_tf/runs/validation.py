"""Recall while a run trains and at its end: exact, or by candidates where the run asks for that."""

import dataclasses
from collections.abc import Mapping

from hslm_tf.config import RunConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.exact_recall import Watch, evaluate_models
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.candidate_scores import CandidateScores
from hslm_tf.retrieval.distillation import distill
from hslm_tf.retrieval.distillation_config import DistillationConfig
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.runs.results import exact_result, keep_recall
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import Splits

# Heads for one validation: `python -m hslm_tf.index heads` takes more images and blocks, and far
# longer than the validation saves.
HEADS_OF_A_VALIDATION = DistillationConfig(steps=200, images_a_step=64, max_images=1500)


class DevRecall:
    """Measures recall on dev as the configuration says."""

    def __init__(self, config: RunConfig, splits: Splits) -> None:
        self._training, self._splits = config.training, splits
        self.heads: ProjectionHeads | None = None

    def __call__(self, model: HSLM, watch: Watch | None = None) -> RecallReport:
        """Measures a model."""
        blocks = None
        if (count := self._training.validation_candidates) is not None:
            heads = dataclasses.replace(HEADS_OF_A_VALIDATION, seed=self._training.seed)
            self.heads = distill(model, self._splits.train, heads)
            blocks = CandidateScores([self.heads], count)
        return evaluate_models([model], self._splits.dev, watch=watch, blocks=blocks)


def measure_best(
    config: RunConfig,
    run: RunDirectory,
    best: HSLM,
    measured: Mapping[str, RetrievalDataset],
    on_dev: RecallReport,
) -> dict[str, RecallReport]:
    """Measures the best model of a run at its end; the test split always exactly."""
    reports = {}
    for split, dataset in measured.items():
        count = config.training.validation_candidates
        if count is not None and split == config.data.dev_split != config.data.test_split:
            reports[f"{split}, candidates {count}, approximate"] = on_dev
            continue
        reports[split] = exact_recall(config, best, dataset, on_dev)
        keep_recall(run, exact_result([best], dataset, "all"), reports[split])
    return reports


def exact_recall(
    config: RunConfig, best: HSLM, dataset: RetrievalDataset, on_dev: RecallReport
) -> RecallReport:
    """Exact recall of the best model of a run; on dev its validation's, where that was exact."""
    validated = dataset.name == config.data.dev_split
    exact = config.training.validation_candidates is None
    return on_dev if validated and exact else evaluate_models([best], dataset)
