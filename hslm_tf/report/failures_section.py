"""The queries whose right item is found last."""

import os
from collections.abc import Mapping

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.pages import Section, plain_section
from hslm_tf.report.pictures import find_image, picture_of
from hslm_tf.report.query_results import DIRECTIONS, QueryResults

# A page with the pictures of a thousand failures would be too large.
_PICTURED = 50
_LONGEST_SIDE = 120


def failures_section(
    results: Mapping[str, QueryResults],
    dataset: RetrievalDataset,
    count: int,
    image_folder: str | os.PathLike[str] | None = None,
) -> Section:
    """Lists the hardest failures of both directions: those of the worst rank."""
    failing = {side: np.count_nonzero(found.ranks) for side, found in results.items()}
    text = [
        f"{failing[side]} of {len(found.ranks)} {DIRECTIONS[side]} find something else first."
        for side, found in results.items()
    ]
    tables = [
        _table(side, found, dataset, count, image_folder)
        for side, found in results.items()
        if failing[side]
    ]
    return plain_section("failures", "Hardest failures", text, tables)


def hardest_failures(found: QueryResults, count: int) -> np.ndarray:
    """Chooses the queries of the worst rank; of equal ranks the largest margin comes first."""
    margin = found.wrong_scores - found.right_scores
    order = np.lexsort([-margin, -found.ranks])[:count]
    return order[found.ranks[order] > 0]


def _table(
    side: str,
    found: QueryResults,
    dataset: RetrievalDataset,
    count: int,
    folder: str | os.PathLike[str] | None,
) -> DataTable:
    ids = dataset.image_ids or [f"image {row}" for row in range(dataset.num_images)]
    captions, image_of = dataset.captions, dataset.caption_to_image
    failed = hardest_failures(found, count)
    right, wrong = found.right[failed], found.wrong[failed]
    # Beside a wrong item stands what tells it apart: its image, or the image's first caption.
    if side == "i2t":
        columns = ("image", "its best caption", "image of that")
        texts = (ids, captions, captions, ids)
        beside = image_of[wrong]
        images = {0: failed, 5: beside}
    else:
        columns = ("caption", "its image", "first caption of that")
        texts = (captions, ids, ids, captions)
        beside = np.unique(image_of, return_index=True)[1][wrong]
        images = {2: right, 4: wrong}
    query, item, other, other_beside = (
        [names[row] for row in rows]
        for names, rows in zip(texts, (failed, right, wrong, beside), strict=True)
    )
    cells = {
        columns[0]: query,
        "rank": [str(rank + 1) for rank in found.ranks[failed]],
        columns[1]: item,
        "its score": [f"{score:.4f}" for score in found.right_scores[failed]],
        "found instead": other,
        columns[2]: other_beside,
        "score of that": [f"{score:.4f}" for score in found.wrong_scores[failed]],
    }
    return DataTable(
        f"failures-{side}",
        f"Hardest failures of {DIRECTIONS[side]}",
        tuple(cells),
        list(zip(*cells.values(), strict=True)),
        text_columns=frozenset({0, 2, 4, 5}),
        pictures={
            (number, column): data
            for column, rows in images.items()
            for number, row in enumerate(rows[:_PICTURED])
            if (data := picture_of(find_image(folder, ids[row]), _LONGEST_SIDE).data)
        },
    )
