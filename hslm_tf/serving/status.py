"""What the exported endpoints say about each row of a request."""

import enum

# Given as the number of regions of an image, it says that all its rows are real.
ALL_REGIONS = -1


class Status(enum.IntEnum):
    """Why a row has no answer. Clients know these numbers: they never change."""

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
