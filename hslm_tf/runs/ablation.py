"""Training the rows of the paper's Table 4."""

import dataclasses
import json
from pathlib import Path

import keras

from hslm_tf.config import RunConfig
from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.evaluation.ranks import DirectionReport, RecallReport
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.runs.experiment import train
from hslm_tf.runs.hparams import write_test_recall
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import Splits


def row_config(config: RunConfig, row: int, seed: int) -> RunConfig:
    """Makes the configuration of one run.

    Args:
        config: what all rows share.
        row: row of Table 4, whose parts the model has.
        seed: added to the configured seed.

    Returns:
        The configuration. A contrastive start compares whole scores: on global vectors alone, rows
        without them could not be trained alike, and what is local would not be trained at all.
    """
    training = dataclasses.replace(
        config.training, seed=config.training.seed + seed, contrastive_on="score"
    )
    model = dataclasses.replace(config.model, **ABLATION_PARTS[row])
    return dataclasses.replace(config, model=model, training=training)


def run_row(
    config: RunConfig, run: RunDirectory, splits: Splits, measured: RetrievalDataset, verbose: int
) -> RecallReport:
    """Trains one row with one seed, or goes on with it, or reads what it came to.

    Args:
        config: the configuration of the run, from `row_config`.
        run: its directory.
        splits: data to train on and to choose by.
        measured: the split that the best model is measured on.
        verbose: 1 shows a progress bar, 0 nothing.

    Returns:
        The recall of the best model.

    Raises:
        ValueError: if the directory holds a run with another configuration.
    """
    if run.config_file.exists() and run.config() != config:
        raise ValueError(f"{run.path} holds a run with another configuration: choose another --out")
    result = run.path / "recall.json"
    if result.exists():
        return _read(result)
    train(config, run, splits, verbose)
    report = evaluate(keras.saving.load_model(run.best_model), measured)
    if measured.name == config.data.test_split:
        write_test_recall(run, report)
    with atomic_write(result) as draft:
        draft.write_text(json.dumps(report.as_dict(), indent=2) + "\n", "utf-8")
    return report


def _read(path: Path) -> RecallReport:
    numbers = json.loads(path.read_text("utf-8"))
    fields = [field.name for field in dataclasses.fields(DirectionReport)]
    sides = {
        side: DirectionReport(**{name: numbers[f"{side}_{name}"] for name in fields})
        for side in ("i2t", "t2i")
    }
    return RecallReport(**sides)
