"""What TensorBoard's pages add to a validation and to the end of a training, on a run's dev split.

    python -m benchmarks.tensorboard_cost runs/flickr8k

Nothing of the run is changed; what is written goes to a folder that is removed.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import rich
import tyro
from rich.table import Table

from hslm_tf.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class Arguments:
    """What TensorBoard's pages cost."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directory of the run"""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    run = RunDirectory(tyro.cli(Arguments, args=args).run)
    # TensorFlow takes seconds to import: --help should not wait.
    from hslm_tf.evaluation.exact_recall import evaluate_models
    from hslm_tf.runs.dev_examples import DevExamples
    from hslm_tf.runs.opening import load_model
    from hslm_tf.runs.projector import write_projector
    from hslm_tf.runs.splits import open_split
    from hslm_tf.runs.tensorboard_log import TensorBoardLog

    config = run.config()
    dev, model = open_split(run, config.data.dev_split), load_model(run.path)
    # The first evaluation builds the graphs.
    evaluate_models([model], dev.subset(0, min(dev.num_images, 10)))
    watching = 0.0
    seen = DevExamples(dev, config.data.images).watched_scores()

    def watch(scores, captions) -> None:
        nonlocal watching
        watching += _seconds(lambda: seen.add(scores, captions))

    evaluation = _seconds(lambda: evaluate_models([model], dev, watch=watch))
    with tempfile.TemporaryDirectory() as folder:
        written = RunDirectory(Path(folder))
        log = TensorBoardLog(written, config, dev)
        log.on_train_begin()
        sizes = []
        for epoch in range(2):
            log.seen = seen
            writing = _seconds(lambda: log.on_epoch_end(epoch, {"val_rsum": 0.0}))  # noqa: B023
            sizes.append(_megabytes(written.tensorboard))
        log.on_train_end()
        projector = _seconds(
            lambda: write_projector(written, model, dev, images=config.data.images)
        )
        vectors = _megabytes(written.tensorboard) - sizes[1]
    table = Table(title=f"{dev.num_images} images, {dev.num_captions} captions")
    for column in ("", "s", "MB"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("an evaluation", f"{evaluation - watching:.3f}", "")
    table.add_row("watching its scores", f"{watching:.3f}", "")
    table.add_row("writing what was seen", f"{writing:.3f}", f"{sizes[1] - sizes[0]:.2f}")
    table.add_row("vectors for the projector, at the end", f"{projector:.3f}", f"{vectors:.2f}")
    rich.print(table)


def _seconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
