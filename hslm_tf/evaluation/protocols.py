"""The field's evaluation protocols on a matrix of scores."""

from typing import Literal, get_args

import numpy as np

from hslm_tf.evaluation.ranks import RecallReport, check_scores, mean_report, ranks, recall_report

Protocol = Literal["all", "1k", "5k", "coco-1k"]

_IMAGES = {"1k": 1000, "5k": 5000, "coco-1k": 5000}
_COCO_1K_FOLDS = 5


def evaluate_scores(
    scores: np.ndarray, caption_to_image: np.ndarray, protocol: Protocol = "all"
) -> RecallReport:
    """Recall under a protocol.

    Args:
        scores: `[num_images, num_captions]`, higher is more alike.
        caption_to_image: int `[num_captions]`, the image of each caption.
        protocol: `1k`: the 1,000 images of Flickr30K's or Flickr8k's test split. `5k`: the 5,000
            of COCO's. `coco-1k`: the mean over five folds of 1,000 of those. `all`: the whole
            matrix, of any size.

    Returns:
        The report.

    Raises:
        ValueError: if the protocol is unknown or asks for another number of images.
    """
    scores, caption_to_image = np.asarray(scores), np.asarray(caption_to_image)
    check_protocol(protocol, len(scores))
    folds = fold_ranges(protocol, len(scores))
    if len(folds) == 1:
        return recall_report(*ranks(scores, caption_to_image))
    check_scores(scores, caption_to_image)
    reports = []
    for first, end in folds:
        captions = np.flatnonzero((caption_to_image >= first) & (caption_to_image < end))
        block = scores[first:end, captions]
        reports.append(recall_report(*ranks(block, caption_to_image[captions] - first)))
    return mean_report(reports)


def check_protocol(protocol: Protocol, num_images: int) -> None:
    """Checks that a protocol exists and is defined on a number of images."""
    if protocol not in get_args(Protocol):
        raise ValueError(
            f"protocol is one of {get_args(Protocol)}. Received: protocol={protocol!r}"
        )
    if num_images != _IMAGES.get(protocol, num_images):
        raise ValueError(
            f"Protocol {protocol!r} is defined on {_IMAGES[protocol]} images; 'all' takes any "
            f"number. Received: num_images={num_images}"
        )


def fold_ranges(protocol: Protocol, num_images: int) -> list[tuple[int, int]]:
    """The images that a protocol ranks together: first one and one past the last of each fold."""
    size = num_images // (_COCO_1K_FOLDS if protocol == "coco-1k" else 1)
    return [(first, first + size) for first in range(0, num_images, size)]
