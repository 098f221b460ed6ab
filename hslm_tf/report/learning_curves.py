"""How the runs of a report learnt, epoch by epoch."""

from collections.abc import Sequence

import numpy as np

from hslm_tf.report.answers import DIRECTIONS
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.drawing import Line, Plot, lines_for, new_figure, svg_of
from hslm_tf.report.measured_run import MeasuredRun
from hslm_tf.report.section import Section, plain_section

# Columns of the log, and what they are called.
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


def learning_curves_section(runs: Sequence[MeasuredRun]) -> Section:
    """Draws what the logs hold, all runs in each plot."""
    logged = [run for run in runs if len(run.log.get("epoch", ()))]
    lines = lines_for([run.name for run in logged])
    drawn = {
        name: title for name, title in _CURVES.items() if any(name in run.log for run in logged)
    }
    plots = [_curve(logged, lines, name, title) for name, title in drawn.items()]
    text = ["Validation measures the dev split, not in every epoch: the points are measured."]
    if missing := [run.name for run in runs if run not in logged]:
        text.append(f"There is no log of {', '.join(missing)}.")
    tables = [_summary(logged), _numbers(logged, drawn)] if logged else []
    return plain_section("curves", "Learning curves", text, tables, plots, lines)


def _curve(runs: Sequence[MeasuredRun], lines: Sequence[Line], name: str, title: str) -> Plot:
    figure = new_figure(4.4, 2.6)
    axes = figure.add_subplot()
    described = []
    for run, line in zip(runs, lines, strict=True):
        epochs, values = _measured(run, name)
        if not len(values):
            continue
        style = {"color": line.colour, "linestyle": (0, line.dashes) if line.dashes else "-"}
        axes.plot(epochs, values, marker=".", **style)
        described.append(
            f"{run.name} from {values[0]:.4g} in epoch {epochs[0]} to {values[-1]:.4g} in epoch "
            f"{epochs[-1]}, lowest {values.min():.4g}, highest {values.max():.4g}"
        )
    if name == "gradient_norm":
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    # The same for all curves, also where few epochs were measured.
    last = max(len(run.log["epoch"]) for run in runs)
    axes.set_xlim(0.9, max(last, 2) + 0.1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    svg = svg_of(figure, f"{title} by epoch: {'; '.join(described) or 'never measured'}")
    return Plot(title, svg)


def _summary(runs: Sequence[MeasuredRun]) -> DataTable:
    rows = []
    for run in runs:
        epochs, rsums = _measured(run, "val_rsum")
        best = [str(epochs[rsums.argmax()]), f"{rsums.max():.1f}"] if len(rsums) else ["", ""]
        rows.append([run.name, str(len(run.log["epoch"])), *best])
    columns = ("run", "epochs", "best epoch", "its dev rsum")
    return DataTable("epochs", "Epochs, and the one that was kept", columns, rows)


def _numbers(runs: Sequence[MeasuredRun], names: Sequence[str]) -> DataTable:
    rows = [
        [run.name, str(int(epoch) + 1), *(_cell(run, name, number) for name in names)]
        for run in runs
        for number, epoch in enumerate(run.log["epoch"])
    ]
    return DataTable("curves", "The numbers of the curves", ("run", "epoch", *names), rows)


def _measured(run: MeasuredRun, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs with a number, counted from 1, and their numbers."""
    epochs = run.log["epoch"].astype(int) + 1
    values = run.log.get(name, np.full(len(epochs), np.nan))
    finite = np.isfinite(values)
    return epochs[finite], values[finite]


def _cell(run: MeasuredRun, name: str, number: int) -> str:
    value = run.log[name][number] if name in run.log else np.nan
    return "" if np.isnan(value) else f"{value:.6g}"
