"""Table 4 of the paper: the recalls it reports on Flickr30K, and what it claims with them.

Which parts each row has is `hslm_tf.presets.ABLATION_PARTS`.
"""

from typing import NamedTuple


class PublishedRecall(NamedTuple):
    """What a row of Table 4 reports."""

    recalls: tuple[float, float, float, float, float, float]
    rsum: float


TABLE_4: dict[int, PublishedRecall] = {
    1: PublishedRecall((58.7, 85.3, 91.5, 43.5, 72.0, 80.0), 431.0),
    2: PublishedRecall((60.1, 85.6, 91.2, 45.0, 74.6, 82.7), 437.5),
    3: PublishedRecall((61.4, 84.3, 91.9, 45.5, 73.8, 81.8), 438.7),
    4: PublishedRecall((60.9, 86.8, 93.6, 45.8, 74.7, 82.5), 444.2),
    5: PublishedRecall((72.1, 91.8, 96.1, 54.2, 80.3, 86.5), 481.0),
    6: PublishedRecall((71.8, 92.6, 96.3, 54.9, 80.8, 86.8), 483.2),
    7: PublishedRecall((73.8, 92.1, 96.1, 55.8, 80.5, 86.7), 485.0),
    8: PublishedRecall((72.7, 92.8, 97.3, 56.5, 81.9, 88.3), 489.5),
    9: PublishedRecall((72.7, 92.1, 96.0, 55.3, 81.0, 87.5), 484.6),
    10: PublishedRecall((72.2, 93.4, 96.8, 55.8, 81.6, 87.5), 487.3),
    11: PublishedRecall((75.2, 94.1, 96.9, 57.1, 82.9, 88.5), 494.6),
    12: PublishedRecall((77.1, 94.1, 97.4, 58.1, 82.6, 88.4), 497.8),
}


class Ordering(NamedTuple):
    """What Table 4 claims: the first row of each pair is better than the second."""

    claim: str
    pairs: tuple[tuple[int, int], ...]


ORDERINGS = (
    Ordering("12 > 11 > 9 > 5 > 1", ((12, 11), (11, 9), (9, 5), (5, 1))),
    Ordering("self-attention adds", ((2, 1), (4, 3), (6, 5), (8, 7), (10, 9), (12, 11))),
    Ordering("MGCN adds", ((3, 1), (4, 2), (7, 5), (8, 6), (11, 9), (12, 10))),
    Ordering("cross-attention and local add to global", ((9, 1), (10, 2), (11, 3), (12, 4))),
    Ordering("global adds to local", ((9, 5), (10, 6), (11, 7), (12, 8))),
)
