"""`python -m hslm_tf.check`: a report on a data set before anybody trains on it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hslm_tf.command_line import command, print_table, printable
from hslm_tf.config import DataConfig, ModelConfig, RunConfig


@dataclass(frozen=True)
class CheckArguments:
    """Report on a data set: what its splits hold, and what in them would stop a training.

    All of it is read once, in bounded memory. The exit status is 1 where `python -m hslm_tf.train`
    would stop; what is only suspicious is a warning.
    """

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """A folder in the precomputed format or an HDF5 file; "sample" is the built-in sample."""

    splits: tuple[str, ...] = ()
    """Splits to check, such as train dev test. Without it: all that are found, and those that a
    training needs."""

    train_split: str = DataConfig.train_split
    """Split to train on."""

    dev_split: str = DataConfig.dev_split
    """Split that chooses the best checkpoint."""

    test_split: str = DataConfig.test_split
    """Split measured at the end, where there is one."""

    vocabulary: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Vocabulary JSON of SCAN or SGRAF. Without it: one built from the training captions."""

    min_count: int = DataConfig.min_count
    """How often a word must occur to enter a vocabulary built here."""

    max_tokens: int = ModelConfig.max_tokens
    """Longest caption, <start> and <end> included; training truncates longer ones."""

    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the report to this file, with the statistics of every column."""

    def config(self) -> RunConfig:
        """The configuration of a run that reads these data."""
        return RunConfig(
            model=ModelConfig(max_tokens=self.max_tokens),
            data=DataConfig(
                dataset=self.data,
                train_split=self.train_split,
                dev_split=self.dev_split,
                test_split=self.test_split,
                vocabulary=self.vocabulary,
                min_count=self.min_count,
            ),
        )


def run(arguments: CheckArguments) -> None:
    """Runs the command."""
    config = arguments.config()
    if arguments.json and not arguments.json.parent.is_dir():
        raise FileNotFoundError(f"{arguments.json}: there is no such folder")
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.checks.dataset_check import check_dataset
    from hslm_tf.checks.tables import report_tables
    from hslm_tf.data.atomic_write import atomic_write
    from hslm_tf.data.json_object import write_object
    from hslm_tf.data.loading import located

    report = check_dataset(
        located(config.data.dataset),
        config.data,
        splits=arguments.splits,
        max_tokens=config.model.max_tokens,
    )
    for table in report_tables(report):
        print_table(table)
    if report.vocabulary is not None:
        print(printable(f"Vocabulary: {report.vocabulary_size:,} {report.vocabulary}"))
    for finding in report.findings:
        print(printable(f"{finding.severity}: {finding.split}: {finding.message}"))
    if arguments.json:
        with atomic_write(arguments.json) as draft:
            write_object(draft, report.to_dict())
    if report.errors:
        sys.exit(1)
    features = [split.features for split in report.splits.values()]
    sizes = features[0].region_dim, max(each.max_regions for each in features)
    print("Nothing here stops a training with --region-dim {} --max-regions {}".format(*sizes))


main = command("check", run)


if __name__ == "__main__":
    main()
