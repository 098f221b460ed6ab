"""Where a training stands: what a checkpoint holds besides model and optimizer."""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import parse_object
from hslm_tf.data.regular_file import regular_file
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.runs.run_directory import progress_text
from hslm_tf.training.callbacks import seed_states

_MEMBER = "training_state.json"


@dataclasses.dataclass
class TrainingState:
    """Position, what the epoch has come to so far, and the numbers of the epochs before it."""

    epochs: int = 0
    steps: int = 0
    measured_epoch: int = 0
    best_epoch: int = 0
    best_rsum: float = float("-inf")
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    metrics: list[list[float]] = dataclasses.field(default_factory=list)
    seeds: list[list[int]] = dataclasses.field(default_factory=list)
    replicas: int = 1

    @property
    def progress(self) -> dict[str, Any]:
        """How far the run has come, as `progress.json` has it."""
        names = ("epochs", "steps", "measured_epoch", "best_epoch", "best_rsum")
        return {name: getattr(self, name) for name in names}

    @property
    def best_recall(self) -> RecallReport:
        """Recall of the best epoch on dev."""
        row = self.history[self.best_epoch - 1]
        return RecallReport.of({name.removeprefix("val_"): value for name, value in row.items()})

    def __str__(self) -> str:
        return progress_text(self.epochs, self.steps)

    def out_of_patience(self, patience: int | None) -> bool:
        """Says whether the best epoch is `patience` epochs older than the last measured one."""
        return patience is not None and self.measured_epoch - self.best_epoch >= patience

    def record(self, model: keras.Model) -> None:
        """Notes the epoch means so far and the states of the random generators."""
        self.metrics = [
            [float(_copies(v)[0].numpy()) for v in metric.variables] for metric in model.metrics
        ]
        self.seeds = [[int(x) for x in _copies(state)[0].numpy()] for state in seed_states(model)]

    def restore(self, model: keras.Model) -> None:
        """Puts back what `record` noted."""
        for metric, values in zip(model.metrics, self.metrics, strict=True):
            for variable, value in zip(metric.variables, values, strict=True):
                _assign(variable, value)
        for state, value in zip(seed_states(model), self.seeds, strict=True):
            _assign(state, value)

    def add_to(self, checkpoint: Path) -> None:
        """Adds the state to a model that was saved, so that both are one file."""
        with zipfile.ZipFile(checkpoint, "a") as file:
            file.writestr(_MEMBER, json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def of(cls, checkpoint: Path) -> "TrainingState":
        """Reads the state from a checkpoint."""
        try:
            with zipfile.ZipFile(regular_file(checkpoint)) as file:
                if _MEMBER not in file.namelist():
                    raise DataError(
                        f"{checkpoint} holds no {_MEMBER}: training cannot go on from a model "
                        "alone, such as best.keras, or from a file of an older version"
                    )
                text = file.read(_MEMBER)
        except (DataError, FileNotFoundError):
            raise
        # zipfile raises anything on a damaged archive.
        except Exception as error:
            raise DataError(f"{checkpoint} is damaged: {error}") from error
        found = parse_object(text, f"{checkpoint}: {_MEMBER}")
        known = {field.name for field in dataclasses.fields(cls)}
        if found.keys() != known:
            raise DataError(
                f"{checkpoint}: {_MEMBER} has the keys {', '.join(sorted(found))}, expected "
                f"{', '.join(sorted(known))}"
            )
        return cls(**found)


def _copies(variable: keras.Variable) -> tuple[tf.Variable, ...]:
    """The variable on each device: all hold the same, but a metric reads as their sum."""
    return getattr(variable.value, "values", (variable.value,))


def _assign(variable: keras.Variable, value: float | list[int]) -> None:
    for copy in _copies(variable):
        copy.assign(tf.cast(value, copy.dtype))
