"""Rows of a request to an exported model: how images are padded, and what is wrong with a row."""

import enum

import numpy as np

# As the number of regions of an image it says that all its rows are real.
ALL_REGIONS = -1


class Status(enum.IntEnum):
    """Why a row has no answer. Clients know these numbers: they never change."""

    # A bad row does not fail the request: under server-side batching it shares its batch with the
    # rows of others.
    OK = 0
    NOT_FINITE = 1
    NO_REGIONS = 2
    EMPTY_CAPTION = 3
    INVALID_UTF8 = 4
    TOO_MANY_WORDS = 5
    TOO_MANY_REGIONS = 6

    @property
    def meaning(self) -> str:
        """The status in words."""
        return _MEANINGS[self]


_MEANINGS = {
    Status.OK: "answered",
    Status.NOT_FINITE: "features are not finite, or too large to compute with",
    Status.NO_REGIONS: "the image has no regions",
    Status.EMPTY_CAPTION: "the caption has no words",
    Status.INVALID_UTF8: "the caption is not valid UTF-8",
    Status.TOO_MANY_WORDS: "the caption has more words than the model reads",
    Status.TOO_MANY_REGIONS: "num_regions exceeds the rows of regions",
}


def pad_images(
    features: np.ndarray, num_regions: np.ndarray, max_regions: int, region_dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pads images to as many regions as the model takes, and never counts padding as real."""
    features, counts = np.asarray(features, np.float32), np.asarray(num_regions)
    missing = max_regions - features.shape[1] if features.ndim == 3 else -1
    if missing < 0 or features.shape[2] != region_dim:
        raise ValueError(
            f"`region_features` must be [images, at most {max_regions} regions, {region_dim}]. "
            f"Received: region_features.shape={features.shape}"
        )
    if counts.shape != features.shape[:1] or counts.dtype.kind not in "iu":
        raise ValueError(
            "`num_regions` needs one whole number an image. "
            f"Received: num_regions={num_regions}, len(region_features)={len(features)}"
        )
    present = features.shape[1]
    counts = np.where(counts == ALL_REGIONS, present, counts)
    counts = np.where(counts > present, max_regions + 1, counts).astype(np.int32)
    # Features may be large: they are copied only where something is missing.
    padding = ((0, 0), (0, missing), (0, 0))
    return np.pad(features, padding) if missing else features, counts
