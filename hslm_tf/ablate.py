"""`python -m hslm_tf.ablate`: trains the rows of the paper's Table 4 and compares them with it."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from hslm_tf.command_line import command, print_table
from hslm_tf.config import RunConfig
from hslm_tf.presets import ABLATION_PARTS, preset


@dataclasses.dataclass(frozen=True)
class AblateArguments:
    """Train the rows of the paper's Table 4 one after another and print the table beside ours.

    A contrastive loss on global vectors becomes one on whole scores, and so does one on parts where
    a row has no global vector of the image's own. The same command again continues where it was
    stopped. Recall is that of each run's best model on the test split, or on the dev split where
    there is no test split.
    """

    config: RunConfig
    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr8k"
    """where the defaults below come from; the parts of the model are those of the rows"""
    rows: Annotated[str, tyro.conf.arg(metavar="ROWS")] = "1-12"
    """rows of Table 4, such as 1-12 or 1,5,9-12"""
    seeds: int = 1
    """seeds of each row, counted from --seed"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """directory of the runs; by default runs/ablation-PRESET"""


def parse_rows(text: str) -> list[int]:
    """Reads a list of rows such as "1,5,9-12"."""
    rows = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            raise ValueError(f"--rows takes numbers and ranges such as 1,5,9-12. Received: {text}")
        if not {int(first), int(last)} <= set(ABLATION_PARTS):
            raise ValueError(f"--rows takes rows of Table 4, 1 to 12. Received: {text}")
        rows |= set(range(int(first), int(last) + 1))
    return sorted(rows)


def parse(args: Sequence[str]) -> AblateArguments:
    """Parses the command line; defaults are those of the preset."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="flickr8k")
    chosen, _ = first.parse_known_args(args)
    return tyro.cli(
        tyro.conf.OmitArgPrefixes[AblateArguments],
        prog="python -m hslm_tf.ablate",
        args=args,
        default=AblateArguments(config=preset(chosen.preset)),
    )


def run(arguments: AblateArguments) -> None:
    """Runs the command."""
    rows = parse_rows(arguments.rows)
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1. Received: {arguments.seeds}")
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    import rich

    from hslm_tf.report.ablation_section import ablation_table, ordering_table
    from hslm_tf.runs.ablation import ablation_run, row_config, run_row
    from hslm_tf.runs.splits import Splits, load_split, measured_split

    config = arguments.config.with_absolute_paths()
    data = config.data
    splits = Splits(load_split(config, data.train_split), load_split(config, data.dev_split))
    measured = load_split(config, measured_split(config))
    out = arguments.out or Path("runs") / f"ablation-{arguments.preset.replace('/', '-')}"
    reports: dict = {}
    # All rows with one seed first: the table is complete before any row is repeated.
    for seed in range(arguments.seeds):
        for row in rows:
            run = ablation_run(out, row, seed)
            print(f"Row {row}, seed {seed}: {run.path}", flush=True)
            report = run_row(row_config(config, row, seed), run, splits, measured)
            print(f"Row {row}, seed {seed}: rsum {report.rsum:.1f}", flush=True)
            reports.setdefault(row, []).append(report)
    title = f"{measured.name}, {measured.num_images} images; paper: Flickr30K test, 1,000 images"
    print_table(ablation_table(reports, title).rich())
    rich.print(ordering_table(reports).rich())


main = command("ablate", run, parse=parse)


if __name__ == "__main__":
    main()
