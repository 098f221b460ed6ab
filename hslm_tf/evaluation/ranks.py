"""From a matrix of scores to ranks, and from ranks to recall."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np


@dataclass(frozen=True)
class DirectionReport:
    """How well one direction retrieves.

    Args:
        r1: R@1, percentage of queries with a right answer in first place.
        r5: R@5, the same for the first five places.
        r10: R@10, the same for the first ten places.
        median_rank: median rank of the first right answer, counted from 1 and rounded down.
        mean_rank: mean rank of the first right answer, counted from 1.
    """

    r1: float
    r5: float
    r10: float
    median_rank: float
    mean_rank: float


@dataclass(frozen=True)
class RecallReport:
    """How well images retrieve captions and captions retrieve images.

    Args:
        i2t: images as queries.
        t2i: captions as queries.
    """

    i2t: DirectionReport
    t2i: DirectionReport

    @property
    def rsum(self) -> float:
        """Sum of the six recalls, at most 600."""
        return sum(side.r1 + side.r5 + side.r10 for side in (self.i2t, self.t2i))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of `as_dict`."""
        numbers = [field.name for field in fields(DirectionReport)]
        return (*(f"{side}_{name}" for side in ("i2t", "t2i") for name in numbers), "rsum")

    @classmethod
    def of(cls, numbers: Mapping[str, float]) -> "RecallReport":
        """The report that `as_dict` wrote."""
        values = [numbers[name] for name in cls.names()[:-1]]
        half = len(values) // 2
        return cls(DirectionReport(*values[:half]), DirectionReport(*values[half:]))

    def as_dict(self) -> dict[str, float]:
        """All numbers by name: `i2t_r1`, `i2t_r5` and so on, the same for `t2i`, and `rsum`."""
        numbers = (*astuple(self.i2t), *astuple(self.t2i), self.rsum)
        return dict(zip(self.names(), numbers, strict=True))


def ranks(scores: np.ndarray, caption_to_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the right answers in both directions, counted from 0."""
    # A rank is the number of wrong answers that score at least as high as the right one: a tie
    # counts against the model, so that constant scores do not look like perfect retrieval. The rank
    # of an image is that of the best of its captions.
    scores, caption_to_image = np.asarray(scores), np.asarray(caption_to_image)
    check_scores(scores, caption_to_image)
    num_images, num_captions = scores.shape
    positive = scores[caption_to_image, np.arange(num_captions)]
    t2i = np.count_nonzero(scores >= positive, axis=0) - 1

    best = np.full(num_images, -np.inf, scores.dtype)
    np.maximum.at(best, caption_to_image, positive)
    right_answers = caption_to_image[positive == best[caption_to_image]]
    i2t = np.count_nonzero(scores >= best[:, None], axis=1)
    return i2t - np.bincount(right_answers, minlength=num_images), t2i


def check_scores(scores: np.ndarray, caption_to_image: np.ndarray) -> None:
    """Checks scores, and that every caption has an image and every image a caption."""
    if scores.ndim != 2 or scores.dtype.kind != "f" or 0 in scores.shape:
        raise ValueError(
            "scores is a floating-point matrix [num_images, num_captions]. "
            f"Received: scores of {scores.dtype} and shape {scores.shape}"
        )
    check_captions(caption_to_image, *scores.shape)
    check_numbers(scores)


def check_captions(caption_to_image: np.ndarray, num_images: int, num_captions: int) -> None:
    """Checks that every caption has an image and every image a caption."""
    if caption_to_image.shape != (num_captions,) or caption_to_image.dtype.kind not in "iu":
        raise ValueError(
            f"caption_to_image holds one integer for each of the {num_captions} captions. "
            f"Received: {caption_to_image.dtype} of shape {caption_to_image.shape}"
        )
    if caption_to_image.min() < 0 or caption_to_image.max() >= num_images:
        raise ValueError(
            f"caption_to_image points to images 0 to {num_images - 1}. "
            f"Received: {caption_to_image.min()} to {caption_to_image.max()}"
        )
    alone = np.flatnonzero(np.bincount(caption_to_image, minlength=num_images) == 0)
    if alone.size:
        raise ValueError(
            f"Every image needs a caption. Received: {alone.size} images without one, "
            f"the first is image {alone[0]}"
        )


def check_numbers(scores: np.ndarray, captions: np.ndarray | None = None) -> None:
    """Checks that no score is NaN."""
    # The minimum is NaN if any score is, and needs no mask as large as the matrix.
    if np.isnan(scores.min()):
        image, column = np.argwhere(np.isnan(scores))[0]
        caption = column if captions is None else captions[column]
        raise ValueError(
            f"Scores are numbers. Received: NaN for image {image} and caption {caption}"
        )


def recall_report(i2t: np.ndarray, t2i: np.ndarray) -> RecallReport:
    """Recall, median and mean rank from the ranks of images and captions, counted from 0."""
    return RecallReport(_direction_report(i2t), _direction_report(t2i))


def mean_report(reports: Sequence[RecallReport]) -> RecallReport:
    """The mean of every number of some reports, median ranks included."""
    if not reports:
        raise ValueError("mean_report needs at least one report. Received: reports=[]")
    sides = ([report.i2t for report in reports], [report.t2i for report in reports])
    return RecallReport(*(_mean_direction(side) for side in sides))


def _mean_direction(reports: Sequence[DirectionReport]) -> DirectionReport:
    return DirectionReport(*np.mean([astuple(report) for report in reports], axis=0).tolist())


def _direction_report(places: np.ndarray) -> DirectionReport:
    places = np.asarray(places)
    return DirectionReport(
        *(100.0 * float(np.mean(places < k)) for k in (1, 5, 10)),
        median_rank=float(np.floor(np.median(places)) + 1),
        mean_rank=float(np.mean(places) + 1),
    )
