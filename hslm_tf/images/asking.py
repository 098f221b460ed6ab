"""Photographs that a collection is asked with."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hslm_tf.images.extraction_config import ExtractionConfig
from hslm_tf.images.extractor import RegionExtractor, RegionFeatures
from hslm_tf.images.photographs import ImageError, decode_photograph


def extraction_again(
    extraction: Mapping[str, Any] | None,
    place: str,
    backbone: str | None = None,
    weights: str | None = None,
    boxes: str | None = None,
) -> ExtractionConfig:
    """How features are made once more, as others were made."""
    if extraction is None:
        raise ValueError(
            f"{place} does not know how its features were made: photographs can be read where "
            "`python -m hslm_tf.extract` made them"
        )
    moved = {"backbone": backbone, "weights": weights, "boxes": boxes}
    config = ExtractionConfig.from_dict(extraction, place)
    config = replace(config, **{name: value for name, value in moved.items() if value})
    return config.with_full_paths()


class PhotographReader:
    """Makes region features of further photographs as those of a collection were made."""

    def __init__(
        self,
        extraction: Mapping[str, Any] | None,
        place: str,
        backbone: str | None = None,
        weights: str | None = None,
        boxes: str | None = None,
    ) -> None:
        config = extraction_again(extraction, place, backbone, weights, boxes)
        self._extractor = RegionExtractor(config)

    def read(self, path: Path) -> RegionFeatures:
        """Reads a photograph."""
        try:
            return self._extractor.extract([decode_photograph(path.read_bytes())], [path.name])
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
