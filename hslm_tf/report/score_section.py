"""How far apart the scores of right and wrong answers are."""

from collections.abc import Mapping

import numpy as np

from hslm_tf.report.answers import DIRECTIONS, Answers
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.drawing import COLOURS, Plot, new_figure, svg_of
from hslm_tf.report.section import Section, plain_section

_BINS = 40


def score_section(answers: Mapping[str, Answers]) -> Section:
    """Shows the scores of right answers against those of every query's hardest wrong one."""
    plots = [_histograms(side, found) for side, found in answers.items()]
    rows = []
    for side, found in answers.items():
        kinds = (found.right_scores, found.wrong_scores)
        spread = [f"{value:.4f}" for scores in kinds for value in (scores.mean(), scores.std())]
        rows.append([DIRECTIONS[side], *spread, f"{100 * overlap(*kinds):.1f}"])
    columns = (
        "queries",
        *(f"{kind}: {what}" for kind in ("right", "wrong") for what in ("mean", "deviation")),
        "overlap %",
    )
    table = DataTable("scores", "Scores of right and hardest wrong answers", columns, rows)
    text = [
        "The score of every query's right answer (of an image the best of its captions) and that "
        "of its hardest wrong answer, the one with the highest score. The overlap is the area "
        f"that the two histograms of {_BINS} bins have in common: 0% where a threshold parts them, "
        "100% where they are alike."
    ]
    return plain_section("scores", "Scores", text, [table], plots)


def overlap(right: np.ndarray, wrong: np.ndarray) -> float:
    """The area that two histograms have in common."""
    _, *shares = _shares(right, wrong)
    return float(np.minimum(*shares).sum())


def _shares(right: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of the bins, and the share of both kinds in every bin."""
    edges = np.histogram_bin_edges(np.concatenate([right, wrong]), _BINS)
    return edges, *(np.histogram(scores, edges)[0] / len(scores) for scores in (right, wrong))


def _histograms(side: str, found: Answers) -> Plot:
    edges, right, wrong = _shares(found.right_scores, found.wrong_scores)
    figure = new_figure(4.4, 2.6)
    axes = figure.add_subplot()
    for shares, name, colour, style in (
        (right, "right", COLOURS[0], "-"),
        (wrong, "hardest wrong", COLOURS[1], "--"),
    ):
        axes.stairs(100 * shares, edges, fill=True, alpha=0.25, color=colour)
        axes.stairs(100 * shares, edges, label=name, color=colour, linestyle=style)
    axes.locator_params("x", nbins=5)
    axes.set_xlabel("score")
    axes.set_ylabel("% of the queries")
    axes.legend()
    medians = np.median(found.right_scores), np.median(found.wrong_scores)
    svg = svg_of(
        figure,
        f"Scores of {DIRECTIONS[side]}: right answers around {medians[0]:.4f}, hardest wrong "
        f"answers around {medians[1]:.4f}, overlap {100 * np.minimum(right, wrong).sum():.1f}%",
    )
    return Plot(f"Scores, {DIRECTIONS[side]}", svg)
