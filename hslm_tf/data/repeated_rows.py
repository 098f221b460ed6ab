"""How many rows of region features one image has, where there is a row for every caption."""

from bisect import bisect_left
from collections import Counter
from math import gcd
from typing import Any

import numpy as np

from hslm_tf.data.errors import DataError

# Places where runs of identical rows are measured: a large file must open at once.
_PLACES = 16
# One run of equal rows in eight may be longer than 1: a photograph may occur twice.
_RARE = 8


def rows_per_image(regions: Any, ids: list[str] | None, source: str, repeated: bool = False) -> int:
    """Finds how often the row of every image is repeated; `repeated` says that it is."""
    rows = regions.shape[0]
    by_ids = _rows_per_id(ids, rows)
    if rows == 1:
        return 1
    if repeated and by_ids > 1:
        return by_ids
    runs = _runs(regions)
    if len(runs) == 1:
        if by_ids:
            return by_ids
        raise DataError(
            f"{source}: all {rows} rows are identical, so it is unclear how many images they are; "
            "ids would say so, or the layout per_image"
        )
    # The largest number at whose multiples every run begins and ends. Ids may say a smaller one:
    # neighbouring images may show the same photograph.
    fitting = gcd(*(run.start for run in runs), *(run.stop for run in runs), rows)
    if fitting > 1:
        return by_ids if by_ids > 1 and fitting % by_ids == 0 else fitting
    return _usual_length(runs, rows, source, repeated)


def _usual_length(runs: list[range], rows: int, source: str, repeated: bool) -> int:
    """The most frequent length of runs that do not fit each other."""
    usual = Counter(map(len, runs)).most_common(1)[0][0]
    one = next(run for run in runs if len(run) == usual)
    if not repeated and _RARE * sum(len(run) > 1 for run in runs) <= len(runs):
        return 1
    if repeated and usual == 1:
        raise DataError(
            f"{source}: most rows differ from the next one, as row {one[0]} does: the layout "
            "per_caption needs identical rows for every image, or ids"
        )
    if repeated and rows % usual == 0:
        return usual
    other = next((run for run in runs if len(run) != usual or run.start % usual), runs[-1])
    raise DataError(
        f"{source}: runs of identical rows, such as {_named(one)} and {_named(other)} of {rows}, "
        "do not give every image the same number of rows; the layout per_image, or per_caption "
        "with an id for every image, says how to read them"
    )


def _rows_per_id(ids: list[str] | None, rows: int) -> int:
    """Number of rows of the first id; 0 where it cannot hold for all."""
    if not ids:
        return 0
    count = rows // len(ids)
    if len(ids) == rows:
        count = next((row for row, image_id in enumerate(ids) if image_id != ids[0]), rows)
    return count if count and rows % count == 0 else 0


def _runs(regions: Any) -> list[range]:
    """Whole runs of identical rows in a few places, the first and the last among them."""
    rows = regions.shape[0]
    first = _identical_from(regions, 0)
    if first.stop == rows:
        return [first]
    places = np.linspace(first.stop - 1, rows - len(first) - 1, _PLACES - 1).astype(int).tolist()
    starts = {_identical_from(regions, place).stop for place in set(places)}
    return [first, *(_identical_from(regions, start) for start in sorted(starts) if start < rows)]


def _identical_from(regions: Any, start: int) -> range:
    """The rows from `start` on that are identical: steps double until one differs, then halve."""
    row = regions[np.array([start])]

    def differs(other: int) -> bool:
        return not np.array_equal(row, regions[np.array([other])], equal_nan=True)

    rows, step = range(regions.shape[0]), 1
    while start + step in rows and not differs(start + step):
        step *= 2
    last = min(start + step, len(rows))
    return range(start, bisect_left(rows, True, start + step // 2 + 1, last, key=differs))


def _named(run: range) -> str:
    return f"row {run[0]}" if len(run) == 1 else f"rows {run[0]} to {run[-1]}"
