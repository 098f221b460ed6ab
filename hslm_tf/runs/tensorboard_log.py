"""Numbers, histograms and configurations for TensorBoard while a run trains."""

import contextlib
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from hslm_tf.config import RunConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.exact_recall import Watch, evaluate_models
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.evaluation.streaming_ranks import WatchedScores
from hslm_tf.models.hslm import HSLM
from hslm_tf.runs.run_directory import RunDirectory

# Their name is enough: where they lie differs from machine to machine.
_FILES = ("dataset", "vocabulary", "word_vectors", "text_backbone")
_OF_THE_OPTIMIZER = ("gradient_norm", "learning_rate")


class TensorBoardLog(keras.callbacks.Callback):
    """Writes the numbers of every epoch, and what a validation saw of its scores."""

    def __init__(
        self,
        run: RunDirectory,
        config: RunConfig,
        dev: RetrievalDataset,
        recall: Callable[[HSLM, Watch], RecallReport] | None = None,
    ) -> None:
        super().__init__()
        self.recall = recall
        self.run, self.config, self.dev = run, config, dev
        self.seen: WatchedScores | None = None

    def measure(self, model: HSLM) -> dict[str, float]:
        """Measures recall on dev, and keeps what is worth seeing of the scores."""
        self.seen = WatchedScores(self.dev.caption_to_image, self.dev.num_images)
        if self.recall is not None:
            return self.recall(model, self.seen.add).as_dict()
        return evaluate_models([model], self.dev, watch=self.seen.add).as_dict()

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._writer = tf.summary.create_file_writer(str(self.run.tensorboard))
        self._best = tf.summary.create_file_writer(str(self.run.best_results))
        # The page HParams compares runs by these alone, so they are a TensorBoard run of their own.
        with self._best.as_default():
            hparams.hparams(hparams_of(self.config), trial_id=trial_of(self.run))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        step = epoch + 1
        with self._writer.as_default():
            for name, value in logs.items():
                if not math.isnan(value):
                    tf.summary.scalar(tag_of(name), value, step)
            if self.seen is not None:
                for name, values in self.seen.distributions().items():
                    tf.summary.histogram(f"dev_scores/{name}", values, step)
        if self.seen is not None:
            best = max(self.run.progress["best_rsum"], logs["val_rsum"])
            with self._best.as_default():
                tf.summary.scalar("dev/rsum", best, step)
        self.seen = None
        self._writer.flush()
        self._best.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        self._writer.close()
        self._best.close()


def tag_of(name: str) -> str:
    """Names a number of the logs for TensorBoard, which groups by what stands before the slash."""
    if name.startswith("val_"):
        group = "dev_ranks" if name.endswith("_rank") else "dev"
        return f"{group}/{name.removeprefix('val_')}"
    return f"optimizer/{name}" if name in _OF_THE_OPTIMIZER else f"train/{name}"


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
