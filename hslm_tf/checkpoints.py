"""Checkpoints of a run: the last epoch, to resume from, and the best, to use."""

import os
from pathlib import Path

import keras

from hslm_tf.run_directory import RunDirectory


class RunCheckpoint(keras.callbacks.Callback):
    """Saves the model after every epoch, and keeps the one with the best validation rsum.

    Each file appears in one piece. The record of progress is written last: a run that is killed
    while saving resumes from the epoch before.

    Args:
        run: the run's directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        progress = {**self.run.progress, "epochs": epoch + 1}
        if logs["val_rsum"] > progress["best_rsum"]:
            progress |= {"best_epoch": epoch + 1, "best_rsum": logs["val_rsum"]}
            save_whole(self.model, self.run.best_model, include_optimizer=False)
        save_whole(self.model, self.run.last_model)
        self.run.write_progress(progress)


def save_whole(model: keras.Model, path: Path, **kwargs) -> None:
    """Saves a model so that the file is complete or not there.

    Args:
        model: the model.
        path: a path ending in `.keras`.
        **kwargs: further arguments of `keras.saving.save_model`.
    """
    draft = path.with_name(f"draft-{path.name}")
    keras.saving.save_model(model, draft, **kwargs)
    os.replace(draft, path)
