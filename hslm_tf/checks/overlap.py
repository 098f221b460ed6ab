"""What two splits share, and should not."""

from dataclasses import dataclass

import numpy as np

from hslm_tf.checks.caption_scan import CaptionScan
from hslm_tf.checks.digests import Digests, shared
from hslm_tf.checks.occurrences import Occurrences
from hslm_tf.data.dataset import RetrievalDataset


@dataclass(frozen=True)
class ScannedSplit:
    """A split and what was gathered of it."""

    dataset: RetrievalDataset
    images: Digests
    captions: CaptionScan | None


@dataclass(frozen=True)
class Overlap:
    """What a split shares with another."""

    split: str
    other: str
    captions: Occurrences
    ids: Occurrences
    images: Occurrences


def overlap_of(split: ScannedSplit, other: ScannedSplit) -> Overlap:
    """Finds what two splits share."""
    captions, ids, images = Occurrences(), Occurrences(), Occurrences()
    if split.captions is not None and other.captions is not None:
        same = shared(split.captions.digests, other.captions.digests)
        captions.add(
            same.items,
            lambda caption: f"{split.captions.place(caption)}, as caption {same.others[0]}",
        )
    mine, theirs = split.dataset, other.dataset
    if mine.image_ids is not None and theirs.image_ids is not None:
        taken = set(theirs.image_ids)
        twice = [image for image, own in enumerate(mine.image_ids) if own in taken]
        ids.add(np.array(twice, np.int64), lambda image: f"image {mine.image_ids[image]!r}")
    alike = shared(split.images, other.images)
    images.add(
        alike.items,
        lambda image: f"{mine.place_of(image)}, as {theirs.place_of(int(alike.others[0]))}",
    )
    return Overlap(mine.name, theirs.name, captions, ids, images)
