"""Region features of photographs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from hslm_tf.command_line import load_extra
from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.regular_file import read_file
from hslm_tf.images.backbones import load_backbone
from hslm_tf.images.box_file import BoxFile
from hslm_tf.images.detections import Detections
from hslm_tf.images.extraction_config import GRID, ExtractionConfig
from hslm_tf.images.photographs import ImageError, decode_photograph
from hslm_tf.images.regions import grid_boxes, roi_align

# Photographs that go through the network together.
PHOTOGRAPHS_AT_ONCE = 16


class RegionFeatures(NamedTuple):
    """Regions of photographs; what lies beyond `num_regions` is zero."""

    region_features: np.ndarray
    boxes: np.ndarray
    num_regions: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """Bool `[n, N]`, True for real regions."""
        return np.arange(self.boxes.shape[1]) < self.num_regions[:, None]


class Detector(Protocol):
    """Finds boxes in a photograph."""

    fingerprint: str

    def detect(self, image: np.ndarray, image_id: str) -> Detections:
        """Finds the boxes of a photograph."""


class RegionExtractor:
    """Makes region features of photographs (HSLM Sec. 3.1)."""

    def __init__(self, config: ExtractionConfig) -> None:
        load_extra("PIL", "images")
        weights = None if config.weights is None else Path(config.weights)
        # The first of them: a file of boxes that is not there is known sooner than a network.
        self._detector = _open_detector(config)
        self._backbone = load_backbone(config.backbone, config.size, weights)
        fingerprint = self._backbone.fingerprint
        if self._detector is not None:
            fingerprint = f"{fingerprint} {self._detector.fingerprint}".strip()
        if config.fingerprint not in ("", fingerprint):
            raise ValueError(
                f"{config.backbone} has the fingerprint {fingerprint[:12]}, but the features were "
                f"made with weights of the fingerprint {config.fingerprint[:12]}"
            )
        self.config = replace(config, fingerprint=fingerprint)
        self._grid = grid_boxes()
        self._features = tf.function(
            lambda pixels, boxes: roi_align(self._backbone(pixels), boxes),
            reduce_retracing=True,
            autograph=False,
        )

    @property
    def max_regions(self) -> int:
        """Regions of an image, padding included."""
        most = self.config.max_regions
        return most if self._detector else min(most, len(self._grid))

    @property
    def region_dim(self) -> int:
        """Width of a region feature."""
        return self._backbone.region_dim

    def extract(
        self, images: Sequence[np.ndarray], ids: Sequence[str] | None = None
    ) -> RegionFeatures:
        """Makes region features."""
        result = RegionFeatures(
            np.zeros((len(images), self.max_regions, self.region_dim), np.float32),
            np.zeros((len(images), self.max_regions, 4), np.float32),
            np.zeros(len(images), np.int32),
        )
        features, boxes, counts = result
        for row, image in enumerate(images):
            regions = self._regions(image, ids[row] if ids else "")
            boxes[row, : len(regions)], counts[row] = regions, len(regions)
        for rows in row_blocks(len(images), PHOTOGRAPHS_AT_ONCE):
            pixels = np.stack([self._resized(images[row]) for row in rows])
            features[rows] = self._features(tf.constant(pixels), tf.constant(boxes[rows]))
        features[~result.mask] = 0
        if not np.isfinite(features).all():
            raise ImageError(f"{self.config.backbone} makes features that are not finite of it")
        return result

    def extract_file(self, path: Path) -> RegionFeatures:
        """Makes the region features of one photograph."""
        try:
            return self.extract([decode_photograph(read_file(path))], [path.name])
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error

    def _resized(self, image: np.ndarray) -> np.ndarray:
        from PIL import Image

        sides = self.config.size, self.config.size
        return np.asarray(Image.fromarray(image).resize(sides, Image.Resampling.BICUBIC))

    def _regions(self, image: np.ndarray, image_id: str) -> np.ndarray:
        """Boxes of a photograph, the most confident first."""
        if self._detector is None:
            return self._grid[: self.max_regions]
        boxes = self._detector.detect(image, image_id).boxes
        if self.config.fill:
            boxes = np.concatenate([boxes, self._grid])
        # A photograph without boxes is one region: itself.
        return (boxes if len(boxes) else self._grid[:1])[: self.max_regions]


def extract_good(
    extractor: RegionExtractor, images: Sequence[np.ndarray], ids: Sequence[str]
) -> tuple[RegionFeatures, dict[int, str]]:
    """Makes region features of the good photographs; says by row why others have none."""
    try:
        return extractor.extract(images, ids), {}
    except ImageError:
        reasons = {}
        for place, (image, image_id) in enumerate(zip(images, ids, strict=True)):
            try:
                extractor.extract([image], [image_id])
            except ImageError as error:
                reasons[place] = str(error)
        good = [place for place in range(len(images)) if place not in reasons]
        features = extractor.extract([images[p] for p in good], [ids[p] for p in good])
        return features, reasons


def _open_detector(config: ExtractionConfig) -> Detector | None:
    if config.box_source == GRID:
        return None
    if config.box_source == "json":
        return BoxFile(Path(config.boxes))
    if config.box_source == "onnx":
        from hslm_tf.images.onnx_detector import OnnxDetector

        return OnnxDetector(Path(config.boxes))
    from hslm_tf.images.keras_hub_detector import KerasHubDetector

    return KerasHubDetector(config.boxes)
