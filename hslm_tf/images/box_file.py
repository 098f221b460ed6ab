"""A JSON file of boxes by the id of a photograph."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import read_object
from hslm_tf.images.detections import Detections
from hslm_tf.images.photographs import ImageError

_EXPECTED = (
    "expected [x0, y0, x1, y1] or [x0, y0, x1, y1, score], with 0 <= x0 < x1 <= 1 and "
    "0 <= y0 < y1 <= 1: shares of the photograph's width and height"
)


class BoxFile:
    """A detector that looks boxes up: `{"dog.jpg": [[0.1, 0.2, 0.5, 0.9, 0.87], ...], ...}`."""

    # The file does not say which detector found the boxes.
    fingerprint = ""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._detections = {
            image_id: _detections(f"{path}, {image_id!r}", boxes)
            for image_id, boxes in read_object(path).items()
        }

    def detect(self, image: np.ndarray, image_id: str) -> Detections:
        """Looks the boxes of a photograph up."""
        if image_id not in self._detections:
            raise ImageError(f"{self._path} has no boxes for it")
        return self._detections[image_id]


def _detections(place: str, boxes: Any) -> Detections:
    if not isinstance(boxes, list):
        raise DataError(f"{place}: {str(boxes)[:60]!r}, expected a list of boxes")
    for row, box in enumerate(boxes):
        if not _is_box(box):
            raise DataError(f"{place}, box {row}: {str(box)[:80]}, {_EXPECTED}")
        if len(box) != len(boxes[0]):
            raise DataError(f"{place}, box {row}: only some boxes have a score")
    # Boxes without scores are in the order of their importance.
    numbers = np.array(boxes, np.float32).reshape(len(boxes), len(boxes[0]) if boxes else 4)
    if numbers.shape[1] < 5:
        return Detections(numbers, np.ones(len(boxes), np.float32))
    order = np.argsort(-numbers[:, 4], kind="stable")
    return Detections(numbers[order, :4], numbers[order, 4])


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) not in (4, 5):
        return False
    if any(type(number) not in (int, float) or not math.isfinite(number) for number in box):
        return False
    x0, y0, x1, y1 = box[:4]
    return 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
