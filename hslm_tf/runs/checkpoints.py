"""Checkpoints of a run: the newest and the one before it, to resume from, and the best, to use."""

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
from keras.src.backend.common import global_state
from keras.src.saving import saving_lib

from hslm_tf.data.archives import check_archive
from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.errors import DataError
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.runs.epoch_log import write_epoch_log
from hslm_tf.runs.interruption import Interruption
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.training_state import TrainingState
from hslm_tf.training.callbacks import averaged_weights

logger = logging.getLogger("hslm_tf")


class RunCheckpoint(keras.callbacks.Callback):
    """Saves the model within and after every epoch, and keeps the best by dev rsum."""

    def __init__(
        self,
        run: RunDirectory,
        patience: int | None = None,
        state: TrainingState | None = None,
        save_every: int | None = None,
        interruption: Interruption | None = None,
        heads: Callable[[], ProjectionHeads | None] = lambda: None,
    ) -> None:
        super().__init__()
        self.run = run
        self.patience = patience
        self.state = state or TrainingState()
        self.save_every = save_every
        self.interruption = interruption or Interruption()
        self.heads = heads
        self._saved = self._position

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._copy = copy_with_new_optimizer(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self.state.steps:
            self.state.restore(self.model)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.state.steps += 1
        if self.interruption.requested or (
            self.save_every is not None and self.state.steps % self.save_every == 0
        ):
            self.save()
        self.interruption.check()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        state = self.state
        state.epochs, state.steps = epoch + 1, 0
        state.history.append({name: float(value) for name, value in logs.items()})
        measured = not math.isnan(logs["val_rsum"])
        if measured:
            state.measured_epoch = state.epochs
        if logs["val_rsum"] > state.best_rsum:
            state.best_epoch, state.best_rsum = state.epochs, float(logs["val_rsum"])
            with averaged_weights(self.model):
                self._copy.set_weights(self.model.get_weights())
            save_whole(self._copy, self.run.best_model)
            if (heads := self.heads()) is not None:
                heads.save(self.run.projection_heads)
        self.save()
        if measured and state.out_of_patience(self.patience):
            self.model.stop_training = True
        self.interruption.check()

    def save(self) -> None:
        """Saves the training where it stands, unless that is saved already."""
        if self._saved == self._position:
            return
        self.state.record(self.model)
        save_checkpoint(self.model, self.state, self.run)
        self._saved = self._position

    @property
    def _position(self) -> tuple[int, int]:
        return self.state.epochs, self.state.steps


def save_checkpoint(model: keras.Model, state: TrainingState, run: RunDirectory) -> None:
    """Saves model, optimizer and state; the checkpoint before it is kept beside it."""
    with atomic_write(run.last_model) as draft:
        keras.saving.save_model(model, draft)
        state.add_to(draft)
        if run.last_model.exists() and not _same_file(run.last_model, run.previous_model):
            with atomic_write(run.previous_model) as second_name:
                try:
                    os.link(run.last_model, second_name)
                except OSError:
                    # Not every file system knows second names.
                    shutil.copyfile(run.last_model, second_name)
    write_epoch_log(run.log_file, state.history)
    run.write_progress(state.progress)


class Checkpoint(NamedTuple):
    """A training that was saved."""

    model: Any
    state: TrainingState
    file: Path


def load_checkpoint(run: RunDirectory) -> Checkpoint | None:
    """Loads the newest checkpoint that is not damaged."""
    errors = []
    for file in (run.last_model, run.previous_model):
        if not file.exists():
            if run.progress["epochs"] or run.progress["steps"] or run.previous_model.exists():
                errors.append(f"{file}: there is no such file")
            continue
        try:
            found = Checkpoint(load_whole(file), TrainingState.of(file), file)
        except DataError as error:
            errors.append(str(error))
            continue
        for error in errors:
            logger.warning("%s. Going on from %s, after %s", error, file, found.state)
        return found
    if errors:
        raise DataError("; ".join(errors))
    return None


def set_damaged_aside(run: RunDirectory, found: Checkpoint) -> None:
    """Keeps a damaged checkpoint from taking the place of the good one before it."""
    if found.file == run.previous_model and run.last_model.exists():
        os.replace(run.last_model, run.path / "damaged.keras")


def last_checkpoint(run: RunDirectory) -> str:
    """Says in a sentence what a run would go on from."""
    for file in (run.last_model, run.previous_model):
        with contextlib.suppress(OSError, DataError):
            return f"The last good checkpoint is {file}, after {TrainingState.of(file)}"
    return "No checkpoint was saved yet"


def _same_file(one: Path, other: Path) -> bool:
    # A kill between two replacements leaves both names on one file. os.replace does nothing where
    # both names are of one file, so the draft's name would stay.
    return other.exists() and os.path.samefile(one, other)


def copy_with_new_optimizer(model: keras.Model) -> keras.Model:
    """Builds a model again, compiled alike."""
    copy = model.from_config(model.get_config())
    if model.compiled:
        copy.compile(**keras.saving.deserialize_keras_object(model.get_compile_config()))
    return copy


def load_whole(path: Path) -> HSLM:
    """Loads a model and says which file is damaged, where it is."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        # Keras reads weights without comparing their checksum.
        check_archive(path)
        model = keras.saving.load_model(path)
        if not isinstance(model, HSLM):
            raise ValueError(f"it holds a {type(model).__name__}, expected a trained HSLM")
        return model
    # Keras, zipfile and HDF5 raise anything on a damaged file.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise DataError(f"{path} is no model that can be read: {reason}") from error


def _remember_attributes() -> None:
    """Has Keras find what it looks up while saving, which it keeps under another name."""
    # Else it makes an optimizer every time, and TensorFlow keeps 70 kB of each.
    for kind in ("Functional", "Layer", "Loss", "Metric", "Operation", "Optimizer"):
        name = f"saving_attr_skiplist_{kind}"
        global_state.set_global_attribute(name, saving_lib.get_attr_skipset(kind))


def save_whole(model: keras.Model, path: Path) -> None:
    """Saves a model so that the file is complete or not there."""
    _remember_attributes()
    with atomic_write(path) as draft:
        keras.saving.save_model(model, draft)
