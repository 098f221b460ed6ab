"""At which rank the right answers are found."""

from collections.abc import Mapping

import numpy as np

from hslm_tf.evaluation.ranks import recall_report
from hslm_tf.report.answers import DIRECTIONS, Answers
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.drawing import COLOURS, Plot, new_figure, svg_of
from hslm_tf.report.section import Section, plain_section


def rank_section(answers: Mapping[str, Answers]) -> Section:
    """Counts the ranks of the first right answers, from 1 to the number of items."""
    bins = rank_bins(max(side.num_items for side in answers.values()))
    names = [str(low) if low == high else f"{low}–{high}" for low, high in bins]
    counts = {side: _counts(answers[side].ranks, bins) for side in answers}
    shares = {side: 100 * counts[side] / counts[side].sum() for side in answers}
    plots = []
    for side, found in answers.items():
        reached = sum(low <= found.num_items for low, _ in bins)
        plots.append(_histogram(side, names[:reached], shares[side][:reached]))
    columns = {"rank": names}
    for side in answers:
        columns[f"{side} queries"] = [str(count) for count in counts[side]]
        columns[f"{side} %"] = [f"{share:.1f}" for share in shares[side]]
    rows = list(zip(*columns.values(), strict=True))
    table = DataTable("ranks", "Ranks of the first right answer", tuple(columns), rows)
    report = recall_report(answers["i2t"].ranks, answers["t2i"].ranks)
    text = [
        "The rank of the first right answer of every query, counted from 1, among all items of the "
        "split."
    ]
    for side, found in answers.items():
        numbers = getattr(report, side)
        text.append(
            f"{DIRECTIONS[side].capitalize()}: median {numbers.median_rank:.0f}, mean "
            f"{numbers.mean_rank:.1f} of {found.num_items}."
        )
    return plain_section("ranks", "Ranks", text, [table], plots)


def rank_bins(num_items: int) -> list[tuple[int, int]]:
    """Ranges of ranks that grow with the rank: 1, 2, 3 to 5, 6 to 10, 11 to 20 and so on."""
    powers = range(len(str(num_items)))
    lasts = [
        last for power in powers for step in (1, 2, 5) if (last := step * 10**power) < num_items
    ]
    firsts = [1, *(last + 1 for last in lasts)]
    return list(zip(firsts, [*lasts, num_items], strict=True))


def _counts(ranks: np.ndarray, bins: list[tuple[int, int]]) -> np.ndarray:
    lasts = [last for _, last in bins]
    return np.bincount(np.searchsorted(lasts, ranks + 1), minlength=len(bins))


def _histogram(side: str, names: list[str], shares: np.ndarray) -> Plot:
    figure = new_figure(4.4, 2.8)
    axes = figure.add_subplot()
    axes.bar(names, shares, color=COLOURS[0])
    axes.tick_params("x", rotation=60)
    axes.set_xlabel("rank")
    axes.set_ylabel("% of the queries")
    found = [f"{name}: {share:.1f}%" for name, share in zip(names, shares, strict=True) if share]
    svg = svg_of(figure, f"Ranks of {DIRECTIONS[side]}. {', '.join(found)}")
    return Plot(f"Ranks, {DIRECTIONS[side]}", svg)
