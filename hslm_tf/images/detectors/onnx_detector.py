"""Detectors in ONNX files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.extras import load_extra
from hslm_tf.images.detections import Detections, cleaned
from hslm_tf.images.detectors.fitting import Fitted, fitted

# Side of a photograph where a file takes any size.
_SIDE = 640
_READABLE = (
    "readable are detectors whose file ends in their final boxes: outputs boxes [n, 4] and scores "
    "[n] (torchvision, RT-DETR, D-FINE), or one output [n, 6] of x0, y0, x1, y1, score, class "
    "(YOLOv10, YOLO26), in pixels, for one photograph [1, 3, h, w] or [1, h, w, 3]"
)


class OnnxDetector:
    """Finds boxes with a detector that was exported to ONNX with its final boxes.

    Pixels are uint8 or, where the file takes floating point, from 0 to 1. A second input, as
    RT-DETR has it, gets the size that boxes are to be in.

    Args:
        path: the file.

    Raises:
        DataError: if it is not such a file.
        ImportError: if ONNX Runtime is not installed.
    """

    def __init__(self, path: Path) -> None:
        onnxruntime = load_extra("onnxruntime", "onnx")
        self._path = path
        self.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=onnxruntime.get_available_providers()
            )
        # ONNX Runtime has an exception of its own for everything that can be wrong with a file.
        except Exception as error:
            raise DataError(f"{path} is no ONNX model that can be run: {error}") from error
        self._inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._names = [output.name.lower() for output in outputs]
        self._separate = {"boxes", "scores"} <= set(self._names)
        shape = self._inputs[0].shape if self._inputs else []
        # The axes that are not 3 are the height and the width.
        self._channels_first = len(shape) == 4 and shape[1] == 3
        right = (self._separate or len(outputs) == 1) and len(self._inputs) in (1, 2)
        if not right or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise DataError(
                f"{path} takes {_shown(self._inputs)} and makes {_shown(outputs)}; {_READABLE}"
            )
        self._size = shape[2:] if self._channels_first else shape[1:3]

    def detect(self, images: Sequence[np.ndarray], ids: Sequence[str]) -> list[Detections]:
        """Finds boxes.

        Args:
            images: uint8 `[h, w, 3]` each.
            ids: their ids, not looked at.

        Returns:
            Boxes and scores of each, the most confident first.

        Raises:
            DataError: if the file cannot be run, or makes something else.
        """
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        resized = self._fitted(image)
        pixels = resized.pixels[None]
        if self._channels_first:
            pixels = pixels.transpose(0, 3, 1, 2)
        if self._inputs[0].type != "tensor(uint8)":
            floats = np.float16 if self._inputs[0].type == "tensor(float16)" else np.float32
            pixels = (pixels / np.float32(255)).astype(floats)
        fed = {self._inputs[0].name: np.ascontiguousarray(pixels)}
        if len(self._inputs) == 2:
            height, width = resized.pixels.shape[:2]
            size = np.int32 if self._inputs[1].type == "tensor(int32)" else np.int64
            fed[self._inputs[1].name] = np.array([[width, height]], size)
        try:
            outputs = self._session.run(None, fed)
        except Exception as error:
            raise DataError(f"{self._path} cannot be run: {error}") from error
        boxes, scores = self._boxes_and_scores(outputs)
        return cleaned(boxes / resized.scale, scores)

    def _fitted(self, image: np.ndarray) -> Fitted:
        height, width = (side if isinstance(side, int) else None for side in self._size)
        factor = _SIDE / max(image.shape[:2])
        return fitted(
            image,
            height or max(1, round(image.shape[0] * factor)),
            width or max(1, round(image.shape[1] * factor)),
            # RT-DETR and its like, which ask for a size, learn from photographs made square.
            keep_aspect=len(self._inputs) == 1,
        )

    def _boxes_and_scores(self, outputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        if self._separate:
            named: dict[str, Any] = dict(zip(self._names, outputs, strict=True))
            boxes, scores = np.asarray(named["boxes"]), np.asarray(named["scores"])
            if boxes.size == 4 * scores.size and boxes.shape[-1:] == (4,):
                return boxes.reshape(-1, 4), scores.reshape(-1)
        elif outputs[0].shape[-1:] == (6,):
            rows = outputs[0].reshape(-1, 6)
            return rows[:, :4], rows[:, 4]
        shapes = [list(np.shape(output)) for output in outputs]
        raise DataError(f"{self._path} makes {', '.join(self._names)} of {shapes}; {_READABLE}")


def _shown(values: Sequence[Any]) -> str:
    shown = (f"{value.name} {value.shape} {value.type}" for value in values)
    return ", ".join(shown) or "nothing"
