"""A run's configuration and its best results, side by side on TensorBoard's page HParams."""

import contextlib
import dataclasses
from pathlib import Path

import tensorflow as tf

from hslm_tf.config import RunConfig
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.runs.run_directory import RunDirectory

# Their name is enough: where they lie differs from machine to machine.
_FILES = ("dataset", "vocabulary", "word_vectors")


def hparams_of(config: RunConfig) -> dict[str, bool | int | float | str]:
    """Flattens a configuration to what decides how good a run becomes."""
    data = dataclasses.asdict(config.data)
    files = {name: data[name] and Path(data[name]).name for name in _FILES}
    fields = dataclasses.asdict(config.model) | dataclasses.asdict(config.training) | files
    return {name: "none" if value is None else value for name, value in fields.items()}


def trial_of(run: RunDirectory) -> str:
    """Names a run among others."""
    return "/".join(run.path.absolute().parts[-2:])


def write_test_recall(run: RunDirectory, report: RecallReport) -> None:
    """Adds recall on the test split to the best results of a run."""
    writer = tf.summary.create_file_writer(str(run.best_results))
    with contextlib.closing(writer), writer.as_default(run.progress["best_epoch"]):
        for name, value in report.as_dict().items():
            if not name.endswith("_rank"):
                tf.summary.scalar(f"test/{name}", value)
