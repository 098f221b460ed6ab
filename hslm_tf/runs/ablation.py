"""The paper's Table 4: where its runs lie, what they came to, and training them."""

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

from hslm_tf.config import RunConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.runs.results import keep_recall, known_recall
from hslm_tf.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from hslm_tf.runs.splits import Splits

# A row has one result, whatever else its run is measured on.
_RESULT = {"measured by": "ablate"}


def ablation_run(folder: Path, row: int, seed: int) -> RunDirectory:
    """The run of a row with a seed."""
    return RunDirectory(folder / f"row-{row}-seed-{seed}")


def finished_runs(folder: Path) -> list[RunDirectory]:
    """The runs of an ablation that have been measured."""
    found = {}
    for path in folder.glob("row-*-seed-*"):
        run = RunDirectory(path)
        if (name := _name(run)) and read_recall(run) is not None:
            found[name] = run
    return [found[name] for name in sorted(found)]


def row_of(run: RunDirectory) -> int | None:
    """The row of Table 4 that a run was trained as."""
    name = _name(run)
    if name is None:
        return None
    parts, model = ABLATION_PARTS.get(name[0], {}), run.config().model
    same = parts and all(getattr(model, part) == on for part, on in parts.items())
    return name[0] if same else None


def read_recall(run: RunDirectory) -> RecallReport | None:
    """Reads what a run came to."""
    return known_recall(run, _RESULT)


def write_recall(run: RunDirectory, report: RecallReport) -> None:
    """Notes what a run came to."""
    keep_recall(run, _RESULT, report)


def _name(run: RunDirectory) -> tuple[int, int] | None:
    """Row and seed."""
    found = re.fullmatch(r"row-(\d+)-seed-(\d+)", run.path.resolve().name)
    return found and (int(found[1]), int(found[2]))


def row_config(config: RunConfig, row: int, seed: int) -> RunConfig:
    """Makes the configuration of one run."""
    model = dataclasses.replace(config.model, **ABLATION_PARTS[row])
    training = dataclasses.replace(config.training, seed=config.training.seed + seed)
    # A loss on global vectors alone is none for rows without them.
    own_vectors = model.pools_regions or not model.global_alignment
    if training.contrastive_on == "global" or not own_vectors:
        training = dataclasses.replace(training, contrastive_on="score")
    return dataclasses.replace(config, model=model, training=training)


def run_row(
    config: RunConfig, run: RunDirectory, splits: "Splits", measured: RetrievalDataset
) -> RecallReport:
    """Trains one row with one seed, or continues its run, or reads the result of a complete one."""
    if run.config_file.exists() and run.config() != config:
        raise ValueError(f"{run.path} holds a run with another configuration: choose another --out")
    if found := read_recall(run):
        return found
    # TensorFlow takes seconds to import, and a report needs the directories alone.
    from hslm_tf.runs.experiment import train
    from hslm_tf.runs.opening import load_model
    from hslm_tf.runs.tensorboard_log import write_test_recall
    from hslm_tf.runs.validation import exact_recall

    on_dev = train(config, run, splits, measured=measured)
    report = exact_recall(config, load_model(run.path), measured, on_dev)
    if measured.name == config.data.test_split:
        write_test_recall(run, report)
    write_recall(run, report)
    return report
