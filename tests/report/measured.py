"""Small runs and datasets for the sections of a report."""

import dataclasses

import numpy as np

from hslm_tf.config import RunConfig, TrainingConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.ranks import DirectionReport, RecallReport
from hslm_tf.report.run_sections import MeasuredRun


def recall(*recalls: float) -> RecallReport:
    """A report with six recalls."""
    sides = (DirectionReport(*part, 1.0, 1.0) for part in (recalls[:3], recalls[3:]))
    return RecallReport(*sides)


def measured_run(name="run", recalls=(10, 20, 30, 1, 2, 3), log=None, row=None, **training):
    """A run with recalls, a log and fields of its training."""
    config = dataclasses.replace(RunConfig(), training=TrainingConfig(**training))
    return MeasuredRun(name, config, log or {}, recall(*recalls), row)


def dataset_of(images: int, captions=None, name="test", each=5, ids=None) -> RetrievalDataset:
    """A dataset without features, with as many captions for every image."""
    count = images * each
    captions = captions or [f"caption {number}" for number in range(count)]
    owners = np.repeat(np.arange(images, dtype=np.int32), each)
    features = np.zeros((images, 1, 1), np.float32)
    return RetrievalDataset(name, "features.npy", features, captions, owners, ids)
