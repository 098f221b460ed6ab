"""How a split is read."""

from dataclasses import dataclass
from pathlib import Path

from hslm_tf.data.assembly import Layout


@dataclass(frozen=True)
class ReadOptions:
    """How a split is read, whatever its format.

    Args:
        layout: layout of rows, as for `load_precomputed`.
        captions_optional: whether a split of images alone, to search in, is accepted.
        features: file or folder of the region features, where they do not lie beside the captions.
        restval: whether Karpathy's `restval` (of MS-COCO) is added to `train`.
        captions_per_image: how many captions of an image are kept, the first ones; 0 keeps all.
            None keeps what the field does: five in Karpathy's JSON of MS-COCO, elsewhere all. It is
            for captions that name their images; other files are read as they are.
        max_regions: how many regions of an image are kept, the first ones; None keeps all.
        float64: whether features may be float64, as for converting them.

    Raises:
        ValueError: if a number is too small.
    """

    layout: Layout = "auto"
    captions_optional: bool = False
    features: Path | None = None
    restval: bool = False
    captions_per_image: int | None = None
    max_regions: int | None = None
    float64: bool = False

    def __post_init__(self) -> None:
        if self.captions_per_image is not None and self.captions_per_image < 0:
            raise ValueError(
                "captions_per_image must be at least 0, which keeps all. Received: "
                f"captions_per_image={self.captions_per_image}"
            )
        if self.max_regions is not None and self.max_regions < 1:
            raise ValueError(
                f"max_regions must be at least 1. Received: max_regions={self.max_regions}"
            )
