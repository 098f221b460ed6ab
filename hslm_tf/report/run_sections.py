"""The runs of a report: how they are configured, and how they learnt epoch by epoch."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hslm_tf.config import RunConfig
from hslm_tf.data.atomic_write import naming
from hslm_tf.data.errors import DataError
from hslm_tf.data.regular_file import regular_file
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.drawing import Line, Plot, lines_for, new_axes, plot_of
from hslm_tf.report.pages import Section, plain_section
from hslm_tf.report.query_results import DIRECTIONS

# Columns of the log, and their titles.
_CURVES = {
    "loss": "Loss",
    "val_rsum": "Dev rsum",
    **{
        f"val_{side}_r{k}": f"Dev R@{k}, {words}"
        for side, words in DIRECTIONS.items()
        for k in (1, 5, 10)
    },
    "learning_rate": "Learning rate at the end of the epoch",
    "gradient_norm": "Norm of the gradient",
    "candidate_fraction": "Fraction of the negatives that the hardest are chosen from",
}
# They jump where another loss begins.
_OF_THE_LOSS = ("loss", "gradient_norm")


@dataclasses.dataclass(frozen=True)
class MeasuredRun:
    """A run with its log, its recall on the split of the report, and its row of Table 4, if any."""

    name: str
    config: RunConfig
    log: Mapping[str, np.ndarray]
    recall: RecallReport
    row: int | None = None
    # Names of losses by the epochs, counted from 1, that begin with another one.
    losses: Mapping[int, str] = dataclasses.field(default_factory=dict)


def read_log(file: Path) -> dict[str, np.ndarray]:
    """Reads `log.csv`: the numbers of every epoch by name, or nothing without a file."""
    if not file.exists():
        return {}
    try:
        with naming(file), open(regular_file(file), encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            names, rows = reader.fieldnames or (), list(reader)
        return {
            # Keras writes NA for a number that an epoch lacks.
            name: np.array(
                [float("nan" if row[name] in (None, "", "NA") else row[name]) for row in rows]
            )
            for name in names
        }
    except (ValueError, csv.Error) as error:
        raise DataError(f"{file}: not the log of a run: {error}") from None


def configuration_section(runs: Sequence[MeasuredRun]) -> Section:
    """Shows the fields in which the runs differ, and every field of the first run."""
    configs = [_fields(run.config) for run in runs]
    first = configs[0]
    tables, text = [], []
    if len(runs) > 1:
        differing = [name for name in first if len({fields[name] for fields in configs}) > 1]
        rows = [[name, *(fields[name] for fields in configs)] for name in differing]
        text.append(
            "The runs differ in the fields of the first table; all others are those of "
            f"{runs[0].name}."
            if rows
            else f"The runs have the same configuration, that of {runs[0].name}."
        )
        if rows:
            columns = ("field", *(run.name for run in runs))
            texts = frozenset(range(len(columns)))
            title = "Differences between the runs"
            tables.append(DataTable("differences", title, columns, rows, text_columns=texts))
    title = f"Configuration of {runs[0].name}" if len(runs) > 1 else "All fields"
    columns = ("field", "value")
    rows, texts = list(first.items()), frozenset({0, 1})
    tables.append(DataTable("configuration", title, columns, rows, text_columns=texts))
    return plain_section("configuration", "Configuration", text, tables)


def _fields(config: RunConfig) -> dict[str, str]:
    return {
        f"{section}.{name}": str(value)
        for section, fields in dataclasses.asdict(config).items()
        for name, value in fields.items()
    }


def learning_curves_section(runs: Sequence[MeasuredRun]) -> Section:
    """Draws the numbers of the logs, all runs in each plot."""
    logged = [run for run in runs if len(run.log.get("epoch", ()))]
    lines = lines_for([run.name for run in logged])
    curves = {
        name: title for name, title in _CURVES.items() if any(name in run.log for run in logged)
    }
    drawn = [name for name in curves if any(np.ptp(_measured(run, name)[1]) > 0 for run in logged)]
    plots = [_plot(logged, lines, name, curves[name]) for name in drawn]
    text = ["The dev split is not measured in every epoch: the points are measured."]
    if constant := [title for name, title in curves.items() if name not in drawn]:
        text.append(f"Without a plot, because it did not change: {'; '.join(constant)}.")
    if missing := [run.name for run in runs if run not in logged]:
        text.append(f"There is no log of {', '.join(missing)}.")
    tables = [_best_epochs(logged), _numbers(logged, curves)] if logged else []
    return plain_section(
        "curves", "Learning curves", text, tables, plots, lines if len(runs) > 1 else ()
    )


def _plot(runs: Sequence[MeasuredRun], lines: Sequence[Line], name: str, title: str) -> Plot:
    axes = new_axes("epoch")
    described, marks = [], {}
    for run, line in zip(runs, lines, strict=True):
        epochs, values = _measured(run, name)
        if not len(values):
            continue
        style = {"color": line.colour, "linestyle": (0, line.dashes) if line.dashes else "-"}
        # Values of different losses are not to be compared: no line joins them.
        losses = run.losses if name in _OF_THE_LOSS else {}
        changes = {epoch: loss for epoch, loss in losses.items() if epoch <= epochs[-1]}
        parts = np.searchsorted(epochs, sorted(changes))
        for part in zip(np.split(epochs, parts), np.split(values, parts), strict=True):
            axes.plot(*part, marker=".", **style)
        marks.update(changes)
        described.append(
            f"{run.name} from {values[0]:.4g} in epoch {epochs[0]} to {values[-1]:.4g} in epoch "
            f"{epochs[-1]}, lowest {values.min():.4g}, highest {values.max():.4g}"
        )
    if name == "gradient_norm":
        axes.set_yscale("log")
    # The same for all curves, also if few epochs were measured.
    last = max(len(run.log["epoch"]) for run in runs)
    axes.set_xlim(0.9, max(last, 2) + 0.1)
    for epoch, loss in marks.items():
        axes.axvline(epoch - 0.5, color="grey", linestyle=":")
        style = {"rotation": 90, "va": "top", "fontsize": "small"}
        axes.text(epoch - 0.5, 0.98, loss, transform=axes.get_xaxis_transform(), **style)
        described.append(f"{loss} from epoch {epoch}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    description = f"{title} by epoch: {'; '.join(described) or 'never measured'}"
    return plot_of(axes, title, description)


def _best_epochs(runs: Sequence[MeasuredRun]) -> DataTable:
    rows = []
    for run in runs:
        epochs, rsums = _measured(run, "val_rsum")
        best = [str(epochs[rsums.argmax()]), f"{rsums.max():.1f}"] if len(rsums) else ["", ""]
        rows.append([run.name, str(len(run.log["epoch"])), *best])
    columns = ("run", "epochs", "best epoch", "its dev rsum")
    return _table_of(runs, "epochs", "Epochs, and the one that was kept", columns, rows)


def _numbers(runs: Sequence[MeasuredRun], names: Sequence[str]) -> DataTable:
    rows = []
    for run in runs:
        for place, epoch in enumerate(run.log["epoch"]):
            values = [run.log[name][place] if name in run.log else np.nan for name in names]
            cells = ["" if np.isnan(value) else f"{value:.6g}" for value in values]
            rows.append([run.name, str(int(epoch) + 1), *cells])
    columns = ("run", "epoch", *names)
    return _table_of(runs, "curves", "The numbers of the curves", columns, rows, folded=True)


def _table_of(
    runs: Sequence[MeasuredRun],
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    folded: bool = False,
) -> DataTable:
    """A table of numbers; its first column, the name of the run, tells several runs apart."""
    if len(runs) > 1:
        return DataTable(name, title, columns, rows, folded=folded)
    rows, texts = [row[1:] for row in rows], frozenset()
    return DataTable(name, title, columns[1:], rows, text_columns=texts, folded=folded)


def _measured(run: MeasuredRun, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs with a number, counted from 1, and their numbers."""
    epochs = run.log["epoch"].astype(int) + 1
    values = run.log.get(name, np.full(len(epochs), np.nan))
    finite = np.isfinite(values)
    return epochs[finite], values[finite]
