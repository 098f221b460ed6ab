"""`python -m hslm_tf.train`: trains a model on a dataset, the built-in sample by default."""

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import tyro

from hslm_tf.command_line import command, print_table
from hslm_tf.config import RunConfig
from hslm_tf.presets import preset
from hslm_tf.runs.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """Train HSLM and measure it. Without arguments: on the built-in sample, in a few minutes.

    Most runs need no more than these ten: --preset, --dataset, --out, --resume, --epochs,
    --batch-size, --learning-rate, --seed, --precision, --devices.

    Everything is in the run's directory: the configuration, the vocabulary, the best model, the
    newest checkpoints, a CSV and TensorBoard's logs. A run that was killed or stopped goes on where
    it was saved last: with --resume, or with the same command where that has --out. Ctrl-C and
    SIGTERM save it first.
    """

    config: RunConfig
    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "sample"
    """where the defaults below come from: sample, flickr8k, flickr8k/minilm, flickr30k, coco,
    paper/flickr30k, paper/coco, or ablation/1 to ablation/12"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """directory of the run; by default runs/PRESET-TIME"""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """continue the run in this directory; of its configuration only --epochs may be changed"""
    save_every: int = 500
    """steps between checkpoints within an epoch; its end is always saved"""
    devices: tuple[str, ...] = ()
    """devices that share each batch: all (the GPUs of this machine), or such as GPU:0 GPU:1; by
    default one"""


def parse(args: Sequence[str] | None = None) -> TrainArguments:
    """Parses the command line; defaults are those of the preset or of the run to resume."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset")
    first.add_argument("--resume", type=Path)
    chosen, _ = first.parse_known_args(args)
    run = RunDirectory(chosen.resume) if chosen.resume else None
    config = run.config() if run else preset(chosen.preset or "sample")
    arguments = tyro.cli(
        tyro.conf.OmitArgPrefixes[TrainArguments],
        prog="python -m hslm_tf.train",
        args=args,
        default=TrainArguments(config=config),
    )
    if arguments.save_every < 1:
        raise ValueError(f"--save-every takes a number from 1. Received: {arguments.save_every}")
    if run is not None:
        epochs = arguments.config.training.epochs
        training = dataclasses.replace(config.training, epochs=epochs)
        same = arguments.config == dataclasses.replace(config, training=training)
        if not same or chosen.preset is not None or arguments.out is not None:
            raise ValueError(f"{run.path}: only --epochs may be given beside --resume")
        progress = run.progress
        if (epochs, 0) < (progress["epochs"], progress["steps"]):
            raise ValueError(
                f"{run.path} has {run.progress_text}, more than the {epochs} asked for"
            )
    return arguments


def run(arguments: TrainArguments) -> None:
    """Runs the command."""
    name = f"{arguments.preset.replace('/', '-')}-{datetime.now():%Y%m%d-%H%M%S}"
    run = RunDirectory(arguments.resume or arguments.out or Path("runs") / name)
    config = arguments.config.with_absolute_paths()
    if arguments.resume is None:
        run.require_new_or_same(config)
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.evaluation.table import report_table
    from hslm_tf.runs.experiment import train
    from hslm_tf.runs.opening import load_model
    from hslm_tf.runs.projector import write_projector
    from hslm_tf.runs.recipe import make_strategy
    from hslm_tf.runs.splits import Splits, load_split, splits_of
    from hslm_tf.runs.tensorboard_log import write_test_recall
    from hslm_tf.runs.validation import measure_best

    strategy = make_strategy(arguments.devices)
    splits = Splits(
        load_split(config, config.data.train_split), load_split(config, config.data.dev_split)
    )
    measured = {config.data.dev_split: splits.dev}
    if config.data.test_split in splits_of(config):
        measured[config.data.test_split] = load_split(config, config.data.test_split)
    print(f"Run directory: {run.path}")
    try:
        on_dev = train(
            config,
            run,
            splits,
            save_every=arguments.save_every,
            strategy=strategy,
            measured=measured.get(config.data.test_split),
        )
        best = load_model(run.path)
        reports = measure_best(config, run, best, measured, on_dev)
        if config.data.test_split in reports:
            write_test_recall(run, reports[config.data.test_split])
        write_projector(run, best, splits.dev)
    except KeyboardInterrupt:
        if run.config_file.exists():
            print(f"\nInterrupted after {run.progress_text}. Continue with:")
            print(
                f"  python -m hslm_tf.train --resume {shlex.quote(str(run.path))}{_same(arguments)}"
            )
        raise
    print_table(
        report_table(
            reports, title=f"Epoch {run.progress['best_epoch']}, best on {config.data.dev_split}"
        )
    )
    print(f"Best model: {run.best_model}")
    print(f"Last model: {run.last_model}")
    print(f"Logs:       {run.log_file}, tensorboard --logdir {run.tensorboard}")


def _same(arguments: TrainArguments) -> str:
    """Flags that a run goes on with, besides its configuration."""
    return f" --devices {' '.join(arguments.devices)}" if arguments.devices else ""


main = command("train", run, parse=parse)


if __name__ == "__main__":
    main()
