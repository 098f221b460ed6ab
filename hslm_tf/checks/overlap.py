"""What two splits share, and should not."""

from dataclasses import dataclass, field

import numpy as np

from hslm_tf.checks.caption_scan import CaptionScan
from hslm_tf.checks.finding import Occurrences
from hslm_tf.checks.fingerprints import Fingerprints, shared
from hslm_tf.data.dataset import RetrievalDataset


@dataclass(frozen=True)
class ScannedSplit:
    """A split, the fingerprints of its images, and its captions."""

    dataset: RetrievalDataset
    images: Fingerprints
    captions: CaptionScan | None


@dataclass(frozen=True)
class Overlap:
    """Captions and images of a split that are in another, which comes before it."""

    split: str
    other: str
    captions: Occurrences = field(default_factory=Occurrences)
    ids: Occurrences = field(default_factory=Occurrences)
    images: Occurrences = field(default_factory=Occurrences)


def overlap_of(split: ScannedSplit, other: ScannedSplit) -> Overlap:
    """Finds what two splits share."""
    mine, theirs = split.dataset, other.dataset
    overlap = Overlap(mine.name, theirs.name)
    if split.captions is not None and other.captions is not None:
        captions = shared(split.captions.fingerprints, other.captions.fingerprints)
        overlap.captions.add(
            captions.items,
            lambda caption: f"{split.captions.place(caption)}, as caption {captions.others[0]}",
        )
    if mine.image_ids is not None and theirs.image_ids is not None:
        ids = set(theirs.image_ids)
        same = np.flatnonzero([image_id in ids for image_id in mine.image_ids])
        overlap.ids.add(same, lambda image: f"image {mine.image_ids[image]!r}")
    images = shared(split.images, other.images)
    overlap.images.add(
        images.items,
        lambda image: f"{mine.place_of(image)}, as {theirs.place_of(int(images.others[0]))}",
    )
    return overlap
