"""Checkpoints of a run: the last epoch, to resume from, and the best, to use."""

import math
from pathlib import Path
from typing import Any

import keras

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.errors import DataError
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.training.averaging import averaged_weights


class RunCheckpoint(keras.callbacks.Callback):
    """Saves the model after every epoch, and keeps the one with the best validation rsum.

    The best model has the averaged weights where the optimizer keeps an average, and is compiled
    with an optimizer that has no state yet: its state is twice as large as the weights. The last
    one has the weights and the optimizer that training continues with. Each file appears in one
    piece. The record of progress is written last: a run that is killed while saving resumes from
    the epoch before.

    Args:
        run: the run's directory.
        patience: epochs without a better rsum after which training stops, always after an epoch
            that was measured; None: it never does. It counts from the record of progress, so a
            resumed run stops after the same epoch.
    """

    def __init__(self, run: RunDirectory, patience: int | None = None) -> None:
        super().__init__()
        self.run = run
        self.patience = patience

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._copy = copy_with_new_optimizer(self.model)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        progress = {**self.run.progress, "epochs": epoch + 1}
        measured = not math.isnan(logs["val_rsum"])
        if measured:
            progress["measured_epoch"] = epoch + 1
        if logs["val_rsum"] > progress["best_rsum"]:
            progress |= {"best_epoch": epoch + 1, "best_rsum": logs["val_rsum"]}
            with averaged_weights(self.model):
                self._copy.set_weights(self.model.get_weights())
            save_whole(self._copy, self.run.best_model)
        save_whole(self.model, self.run.last_model)
        self.run.write_progress(progress)
        if measured and self.run.out_of_patience(self.patience):
            self.model.stop_training = True


def copy_with_new_optimizer(model: keras.Model) -> keras.Model:
    """Builds a model again, compiled alike.

    Args:
        model: the model.

    Returns:
        A copy with weights of its own and, where the model is compiled, an optimizer without state.
    """
    copy = model.from_config(model.get_config())
    if model.compiled:
        config = keras.saving.deserialize_keras_object(model.get_compile_config())
        config.pop("optimizer_built", None)
        copy.compile(**config)
    return copy


def load_whole(path: Path) -> Any:
    """Loads a model and says which file is damaged, where it is.

    Args:
        path: a path ending in `.keras`.

    Returns:
        The model.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is damaged, or no model.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        return keras.saving.load_model(path)
    # Of a damaged file Keras, zipfile and HDF5 raise anything.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} is no model that can be read: {reason}") from error


def save_whole(model: keras.Model, path: Path) -> None:
    """Saves a model so that the file is complete or not there.

    Args:
        model: the model.
        path: a path ending in `.keras`.
    """
    with atomic_write(path) as draft:
        keras.saving.save_model(model, draft)
