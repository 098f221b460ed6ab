"""How well queries find their right items: ranks, and scores against hardest wrong items."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hslm_tf.evaluation.ranks import ranks, recall_report
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.drawing import COLOURS, Plot, new_axes, plot_of
from hslm_tf.report.pages import Section, plain_section

# The directions of the recalls, in words.
DIRECTIONS = {"i2t": "images looking for captions", "t2i": "captions looking for images"}
_BINS = 40


class QueryResults(NamedTuple):
    """The queries of one direction, `[queries]` each."""

    ranks: np.ndarray  # rank of the first right item, counted from 0
    right: np.ndarray  # the right item with the highest score
    right_scores: np.ndarray
    wrong: np.ndarray  # the wrong item with the highest score
    wrong_scores: np.ndarray
    num_items: int


def query_results(scores: np.ndarray, caption_to_image: np.ndarray) -> dict[str, QueryResults]:
    """Finds the results of both directions, `i2t` and `t2i`, among all items."""
    num_images, num_captions = scores.shape
    if num_images < 2:
        raise ValueError(f"A wrong item needs two images. Received: num_images={num_images}")
    i2t_ranks, t2i_ranks = ranks(scores, caption_to_image)
    pairs = caption_to_image, np.arange(num_captions)
    right = scores[pairs]
    # The first caption of every image, when they come from the highest score to the lowest.
    order = np.argsort(-right, kind="stable")
    best = order[np.unique(caption_to_image[order], return_index=True)[1]]

    wrong = scores.copy()
    wrong[pairs] = -np.inf
    of_images = best, right[best], wrong.argmax(axis=1), wrong.max(axis=1)
    of_captions = caption_to_image, right, wrong.argmax(axis=0), wrong.max(axis=0)
    return {
        "i2t": QueryResults(i2t_ranks, *of_images, num_captions),
        "t2i": QueryResults(t2i_ranks, *of_captions, num_images),
    }


def rank_section(results: Mapping[str, QueryResults]) -> Section:
    """Counts the ranks of the first right items, from 1 to the number of items."""
    bins = rank_bins(max(side.num_items for side in results.values()))
    names = [str(low) if low == high else f"{low}–{high}" for low, high in bins]
    report = recall_report(results["i2t"].ranks, results["t2i"].ranks)
    text = [
        "The rank of the first right item of every query, counted from 1, among all items of the "
        "split."
    ]
    columns, plots = {"rank": names}, []
    for side, found in results.items():
        bin_of = np.searchsorted([last for _, last in bins], found.ranks + 1)
        counts = np.bincount(bin_of, minlength=len(bins))
        shares = 100 * counts / counts.sum()
        columns[f"{side} queries"] = [str(count) for count in counts]
        columns[f"{side} %"] = [f"{share:.1f}" for share in shares]
        reached = sum(low <= found.num_items for low, _ in bins)
        plots.append(_rank_plot(side, names[:reached], shares[:reached]))
        numbers = getattr(report, side)
        text.append(
            f"{DIRECTIONS[side].capitalize()}: median {numbers.median_rank:.0f}, mean "
            f"{numbers.mean_rank:.1f} of {found.num_items}."
        )
    rows = list(zip(*columns.values(), strict=True))
    table = DataTable("ranks", "Ranks of the first right item", tuple(columns), rows)
    return plain_section("ranks", "Ranks", text, [table], plots)


def rank_bins(num_items: int) -> list[tuple[int, int]]:
    """First and last ranks of ranges that grow: 1, 2, 3 to 5, 6 to 10, 11 to 20 and so on."""
    powers = range(len(str(num_items)))
    lasts = [
        last for power in powers for step in (1, 2, 5) if (last := step * 10**power) < num_items
    ]
    firsts = [1, *(last + 1 for last in lasts)]
    return list(zip(firsts, [*lasts, num_items], strict=True))


def _rank_plot(side: str, names: list[str], shares: np.ndarray) -> Plot:
    axes = new_axes("rank", "% of the queries")
    axes.bar(names, shares, color=COLOURS[0])
    axes.tick_params("x", rotation=60)
    bars = [f"{name}: {share:.1f}%" for name, share in zip(names, shares, strict=True) if share]
    description = f"Ranks of {DIRECTIONS[side]}. {', '.join(bars)}"
    return plot_of(axes, f"Ranks, {DIRECTIONS[side]}", description)


def score_section(results: Mapping[str, QueryResults]) -> Section:
    """Shows the scores of right items against those of every query's hardest wrong one."""
    rows, plots = [], []
    for side, found in results.items():
        kinds = (found.right_scores, found.wrong_scores)
        spread = [f"{value:.4f}" for scores in kinds for value in (scores.mean(), scores.std())]
        rows.append([DIRECTIONS[side], *spread, f"{100 * overlap(*kinds):.1f}"])
        plots.append(_score_plot(side, *kinds))
    columns = (
        "queries",
        *(f"{kind}: {what}" for kind in ("right", "wrong") for what in ("mean", "deviation")),
        "overlap %",
    )
    table = DataTable("scores", "Scores of right and hardest wrong items", columns, rows)
    text = [
        "The score of every query's right item (for an image, the best of its captions) and the "
        "score of its hardest wrong item, the wrong one with the highest score. The overlap is the "
        f"area that the two histograms of {_BINS} bins have in common: 0% if a threshold separates "
        "them, 100% if they are alike."
    ]
    return plain_section("scores", "Scores", text, [table], plots)


def overlap(right: np.ndarray, wrong: np.ndarray) -> float:
    """The area that two histograms have in common."""
    _, *shares = _histograms(right, wrong)
    return float(np.minimum(*shares).sum())


def _histograms(right: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of the bins, and the share of both kinds in every bin."""
    edges = np.histogram_bin_edges(np.concatenate([right, wrong]), _BINS)
    return edges, *(np.histogram(scores, edges)[0] / len(scores) for scores in (right, wrong))


def _score_plot(side: str, right: np.ndarray, wrong: np.ndarray) -> Plot:
    edges, *shares = _histograms(right, wrong)
    axes = new_axes("score", "% of the queries")
    looks = (("right", COLOURS[0], "-"), ("hardest wrong", COLOURS[1], "--"))
    for share, (name, colour, style) in zip(shares, looks, strict=True):
        axes.stairs(100 * share, edges, fill=True, alpha=0.25, color=colour)
        axes.stairs(100 * share, edges, label=name, color=colour, linestyle=style)
    axes.locator_params("x", nbins=5)
    axes.legend()
    return plot_of(
        axes,
        f"Scores, {DIRECTIONS[side]}",
        f"Scores of {DIRECTIONS[side]}: right items around {np.median(right):.4f}, hardest wrong "
        f"items around {np.median(wrong):.4f}, overlap {100 * np.minimum(*shares).sum():.1f}%",
    )
