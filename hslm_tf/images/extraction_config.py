"""The settings that region features of photographs are made with."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from hslm_tf.config import check_types
from hslm_tf.data.errors import DataError

GRID = "grid"


@dataclasses.dataclass(frozen=True)
class ExtractionConfig:
    """Everything that region features depend on, besides the photographs.

    Args:
        backbone: a network of `keras.applications`, such as `EfficientNetV2B0`, a `.keras` file
            with a model that takes pixels from 0 to 255, or a preset of KerasHub: its name, or a
            folder.
        weights: file with the weights of a network of `keras.applications`; by default those that
            Keras keeps or loads.
        size: side of the square that a photograph is resized to, pixels.
        boxes: where regions come from: `grid`, a JSON of boxes, a detector's `.onnx` file, or a
            KerasHub preset of a detector.
        max_regions: most regions of a photograph.
        fill: whether cells of the grid follow a detector's boxes until there are `max_regions`.
        fingerprint: hash of the networks' weights and of what is done with pixels first; empty
            until they are loaded.

    Raises:
        ValueError: if a value has another type, or a number is less than it can be.
    """

    backbone: str = "EfficientNetV2B0"
    weights: str | None = None
    size: int = 320
    boxes: str = GRID
    max_regions: int = 36
    fill: bool = True
    fingerprint: str = ""

    def __post_init__(self) -> None:
        check_types(self)
        if self.size < 32 or self.max_regions < 1:
            raise ValueError(
                "size is at least 32 and max_regions at least 1. "
                f"Received: size={self.size}, max_regions={self.max_regions}"
            )

    @property
    def box_source(self) -> str:
        """The kind of `boxes`: `grid`, `json`, `onnx` or `preset`."""
        if self.boxes == GRID:
            return GRID
        suffix = self.boxes.lower().rpartition(".")[2]
        return suffix if suffix in ("json", "onnx") else "preset"

    def with_full_paths(self) -> "ExtractionConfig":
        """The same with absolute paths; names of networks stay."""
        paths = {
            name: os.path.abspath(getattr(self, name))
            for name in ("backbone", "weights", "boxes")
            if getattr(self, name) and os.path.exists(getattr(self, name))
        }
        return dataclasses.replace(self, **paths)

    def to_dict(self) -> dict[str, Any]:
        """The values by name, as JSON holds them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any, place: str) -> "ExtractionConfig":
        """Reads a configuration.

        Args:
            values: what `to_dict` gave.
            place: names the file in errors.

        Returns:
            The configuration.

        Raises:
            DataError: if it is none.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(values, Mapping) or set(values) != set(fields):
            raise DataError(
                f"{place}: {json.dumps(values)[:100]}, expected the settings of the features: "
                f"{', '.join(fields)}"
            )
        try:
            return cls(**values)
        except ValueError as error:
            raise DataError(f"{place}: {error}") from error


def remembered_config(
    extraction: Mapping[str, Any] | None,
    place: str,
    backbone: str | None = None,
    weights: str | None = None,
    boxes: str | None = None,
) -> ExtractionConfig:
    """The configuration that features were made with, and where its files are now."""
    if extraction is None:
        raise ValueError(
            f"{place} does not say how its features were extracted: it can take photographs if "
            "`python -m hslm_tf.extract` made the features"
        )
    moved = {"backbone": backbone, "weights": weights, "boxes": boxes}
    config = ExtractionConfig.from_dict(extraction, place)
    config = dataclasses.replace(config, **{name: value for name, value in moved.items() if value})
    return config.with_full_paths()


def check_same(
    first: Mapping[str, Any] | None, second: Mapping[str, Any] | None, place: str, other_place: str
) -> None:
    """Checks that features were made alike: paths may differ, networks and regions may not."""
    if first is None or second is None:
        return
    config = ExtractionConfig.from_dict(first, place)
    other = ExtractionConfig.from_dict(second, other_place)
    for name in ("fingerprint", "size", "box_source", "max_regions", "fill"):
        if getattr(config, name) != getattr(other, name):
            raise ValueError(
                f"{other_place}: its features were made with {_shown(other, name)}, those of "
                f"{place} with {_shown(config, name)}: they do not compare"
            )


def _shown(config: ExtractionConfig, name: str) -> str:
    if name == "fingerprint":
        return f"the networks {config.backbone} {config.fingerprint[:12]}"
    return f"{name} {getattr(config, name)}"
