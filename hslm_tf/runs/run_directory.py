"""The directory of a run: its configuration, vocabulary, checkpoints and logs."""

import dataclasses
import json
import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from hslm_tf.config import RunConfig
from hslm_tf.data.atomic_write import atomic_write, locked
from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import read_object


def _file(name: str, meaning: str) -> Any:
    return property(lambda run: run.path / name, doc=meaning)


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """All files of a run; evaluation needs these and the data."""

    path: Path

    config_file = _file("config.json", "The resolved configuration.")
    vocabulary_file = _file("vocabulary.json", "The vocabulary, in the format of SCAN and SGRAF.")
    features_file = _file("features.json", "How its region features were made, where known.")
    provenance_file = _file("provenance.json", "Code, libraries, data, devices of every session.")
    best_model = _file("best.keras", "The model of the epoch with the best dev rsum.")
    last_model = _file("last.keras", "The newest checkpoint: model, optimizer, training state.")
    previous_model = _file("previous.keras", "The checkpoint before it, in case it is damaged.")
    projection_heads = _file("projection_heads.keras", "The heads of the best model.")
    collection = _file("collection.h5", "The collection that a search of this run looks through.")
    log_file = _file("log.csv", "A line of numbers for every epoch.")
    tensorboard = _file("tensorboard", "TensorBoard's event files.")
    best_results = _file("tensorboard/best", "Event files of the configuration and best results.")
    evaluation = _file("evaluation", "Progress of evaluations that are not complete.")
    results_file = _file("results.json", "Exact results that are known.")

    def require_model(self) -> Path:
        """Returns the path of the best model."""
        if not self.best_model.exists():
            raise FileNotFoundError(f"{self.path} has no model yet: there is no {self.best_model}")
        return self.best_model

    @property
    def progress(self) -> dict[str, Any]:
        """How far the run has come."""
        file = self.path / "progress.json"
        progress = {"epochs": 0, "steps": 0, "measured_epoch": 0, "best_epoch": 0}
        progress["best_rsum"] = float("-inf")
        if not file.exists():
            return progress
        written = {"epochs": None} | read_object(file)
        for name in written.keys() & progress.keys():
            if type(written[name]) not in (int, type(progress[name])):
                raise DataError(
                    f"{file}: {name} is {written[name]!r}, expected a number: the file is damaged"
                )
        return progress | written

    @property
    def progress_text(self) -> str:
        """How far the run has come, in words."""
        progress = self.progress
        return progress_text(progress["epochs"], progress["steps"])

    def write_progress(self, progress: dict[str, Any]) -> None:
        """Replaces the record of how far the run has come, in one piece."""
        # JSON knows no infinity: without a measured epoch there is no best one.
        known = {name: value for name, value in progress.items() if math.isfinite(value)}
        with atomic_write(self.path / "progress.json") as draft:
            draft.write_text(json.dumps(known, indent=2) + "\n", "utf-8")

    def require_new_or_same(self, config: RunConfig) -> None:
        """Checks that a run may start in the directory, or go on if it is the same."""
        if not self.config_file.exists():
            return
        if changes := _changes(self.config(), config):
            raise FileExistsError(
                f"{self.path} holds a run with another configuration ({', '.join(changes)}): "
                f"continue it with --resume {self.path}, or choose another --out"
            )

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other processes from training the run."""
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path, f"{self.path}: another process trains this run")

    def write_config(self, config: RunConfig) -> None:
        """Writes the configuration in one piece, and makes the directory if there is none."""
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.config_file) as draft:
            config.save(draft)

    def extraction(self) -> dict[str, Any] | None:
        """Reads how the region features that the run learns from were made."""
        return read_object(self.features_file) if self.features_file.exists() else None

    def config(self) -> RunConfig:
        """Reads the configuration."""
        if not self.config_file.exists():
            raise FileNotFoundError(f"{self.path} holds no run: there is no {self.config_file}")
        return RunConfig.load(self.config_file)


def progress_text(epochs: int, steps: int) -> str:
    """Says how far a training has come."""
    text = f"{epochs} complete epoch{'' if epochs == 1 else 's'}"
    return f"{text} and {steps} step{'' if steps == 1 else 's'}" if steps else text


def _changes(old: RunConfig, new: RunConfig) -> list[str]:
    """Every field that differs, such as "epochs 40 instead of 30"."""
    before, after = dataclasses.asdict(old), dataclasses.asdict(new)
    return [
        f"{name} {after[section][name]} instead of {value}"
        for section, fields in before.items()
        for name, value in fields.items()
        if after[section][name] != value
    ]


def newest_run(folder: Path) -> RunDirectory:
    """Finds the run whose model is the newest."""
    runs = [RunDirectory(model.parent) for model in folder.glob("*/best.keras")]
    if not runs:
        raise FileNotFoundError(
            f"{folder} has no run with a model: `python -m hslm_tf.train` trains one on the "
            "built-in sample in a few minutes"
        )
    return max(runs, key=lambda run: run.best_model.stat().st_mtime)
