"""The queries whose right answer is found last."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.report.answers import DIRECTIONS, Answers
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.pictures import picture_of
from hslm_tf.report.section import Section, plain_section

# A page with the pictures of a thousand failures would be too large.
_PICTURED = 50
_LONGEST_SIDE = 120


def failures_section(
    answers: Mapping[str, Answers],
    dataset: RetrievalDataset,
    count: int,
    image_folder: str | os.PathLike[str] | None = None,
) -> Section:
    """Lists the hardest failures of both directions: those of the worst rank."""
    failing = {side: np.count_nonzero(found.ranks) for side, found in answers.items()}
    text = [
        f"Of {len(found.ranks)} {DIRECTIONS[side]}, {failing[side]} find something else first."
        for side, found in answers.items()
    ]
    tables = [
        _table(side, found, dataset, count, image_folder)
        for side, found in answers.items()
        if failing[side]
    ]
    return plain_section("failures", "Hardest failures", text, tables)


def hardest_failures(found: Answers, count: int) -> np.ndarray:
    """Chooses the queries whose first right answer has the worst rank."""
    margin = found.wrong_scores - found.right_scores
    order = np.lexsort([-margin, -found.ranks])[:count]
    return order[found.ranks[order] > 0]


def _table(
    side: str,
    found: Answers,
    dataset: RetrievalDataset,
    count: int,
    folder: str | os.PathLike[str] | None,
) -> DataTable:
    ids = dataset.image_ids or [f"image {row}" for row in range(dataset.num_images)]
    captions, image_of = dataset.captions, dataset.caption_to_image
    failed = hardest_failures(found, count)
    right, wrong = found.right[failed], found.wrong[failed]
    ranks = [str(rank + 1) for rank in found.ranks[failed]]
    right_scores = [f"{score:.4f}" for score in found.right_scores[failed]]
    wrong_scores = [f"{score:.4f}" for score in found.wrong_scores[failed]]
    if side == "i2t":
        columns = {
            "image": _at(ids, failed),
            "rank": ranks,
            "its best caption": _at(captions, right),
            "its score": right_scores,
            "found instead": _at(captions, wrong),
            "which is of": _at(ids, image_of[wrong]),
            "score of that": wrong_scores,
        }
        images = {0: failed, 5: image_of[wrong]}
    else:
        first_caption = np.unique(image_of, return_index=True)[1]
        columns = {
            "caption": _at(captions, failed),
            "rank": ranks,
            "its image": _at(ids, right),
            "its score": right_scores,
            "found instead": _at(ids, wrong),
            "whose first caption is": _at(captions, first_caption[wrong]),
            "score of that": wrong_scores,
        }
        images = {2: right, 4: wrong}
    return DataTable(
        f"failures-{side}",
        f"Hardest failures of {DIRECTIONS[side]}",
        tuple(columns),
        list(zip(*columns.values(), strict=True)),
        text_columns=frozenset({0, 2, 4, 5}),
        pictures={
            (number, column): data
            for column, rows in images.items()
            for number, row in enumerate(rows[:_PICTURED])
            if (data := picture_of(folder, ids[row], _LONGEST_SIDE).data)
        },
    )


def _at(texts: Sequence[str], rows: np.ndarray) -> list[str]:
    return [texts[row] for row in rows]
