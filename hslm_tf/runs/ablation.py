"""Training the rows of the paper's Table 4."""

import dataclasses

from hslm_tf.config import RunConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.runs.ablation_directory import read_recall, write_recall
from hslm_tf.runs.checkpoints import load_whole
from hslm_tf.runs.experiment import train
from hslm_tf.runs.hparams import write_test_recall
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import Splits


def row_config(config: RunConfig, row: int, seed: int) -> RunConfig:
    """Makes the configuration of one run."""
    training = dataclasses.replace(
        config.training, seed=config.training.seed + seed, contrastive_on="score"
    )
    model = dataclasses.replace(config.model, **ABLATION_PARTS[row])
    return dataclasses.replace(config, model=model, training=training)


def run_row(
    config: RunConfig, run: RunDirectory, splits: Splits, measured: RetrievalDataset, verbose: int
) -> RecallReport:
    """Trains one row with one seed, or continues its run, or reads the result of a complete one."""
    if run.config_file.exists() and run.config() != config:
        raise ValueError(f"{run.path} holds a run with another configuration: choose another --out")
    if found := read_recall(run):
        return found
    train(config, run, splits, verbose, measured=measured)
    report = evaluate(load_whole(run.best_model), measured)
    if measured.name == config.data.test_split:
        write_test_recall(run, report)
    write_recall(run, report)
    return report
