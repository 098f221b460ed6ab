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
from hslm_tf.images.detectors.onnx_signature import read_signature

# Side of a photograph where a file takes any size; what detectors halve five times needs sides that
# can be halved five times.
_SIDE, _STEP = 640, 32
_READABLE = (
    "readable are detectors whose file ends in their final boxes, in pixels: outputs boxes [n, 4], "
    "labels [n] and scores [n] (torchvision, RT-DETR, D-FINE), or one output [n, 6] of x0, y0, x1, "
    "y1, score, class (YOLOv10, YOLO26), for one photograph [1, 3, h, w], [3, h, w] or [1, h, w, 3]"
)


class OnnxDetector:
    """Finds boxes with a detector that was exported to ONNX with its final boxes."""

    def __init__(self, path: Path) -> None:
        onnxruntime = load_extra("onnxruntime", "onnx")
        self._path = path
        self.fingerprint = _fingerprint(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=onnxruntime.get_available_providers()
            )
        # ONNX Runtime has an exception of its own for everything that can be wrong with a file.
        except Exception as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{path} is no ONNX model that can be run: {reason}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        signature = read_signature(inputs, outputs)
        if signature is None:
            raise DataError(
                f"{path} takes {_shown(inputs)} and makes {_shown(outputs)}; {_READABLE}"
            )
        self._signature = signature

    def detect(self, images: Sequence[np.ndarray], ids: Sequence[str]) -> list[Detections]:
        """Finds boxes."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        signature, resized = self._signature, self._fitted(image)
        pixels = resized.pixels
        height, width = pixels.shape[:2]
        if signature.pixel_type is not np.uint8:
            pixels = (pixels / np.float32(255)).astype(signature.pixel_type)
        if signature.channels_first:
            pixels = pixels.transpose(2, 0, 1)
        fed = {
            signature.pixels: np.ascontiguousarray(pixels[None] if signature.batched else pixels)
        }
        if signature.target_size is not None:
            fed[signature.target_size] = np.array([[width, height]], signature.target_type)
        try:
            outputs = self._session.run(None, fed)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self._path} cannot be run: {reason}") from error
        boxes, scores = self._boxes_and_scores(outputs)
        return cleaned(boxes / resized.scale, scores)

    def _fitted(self, image: np.ndarray) -> Fitted:
        factor = _SIDE / max(image.shape[:2])
        height, width = (
            fixed or int(np.ceil(max(1, round(side * factor)) / _STEP)) * _STEP
            for fixed, side in zip(self._signature.size, image.shape[:2], strict=True)
        )
        # RT-DETR and its like, which ask for a size, learn from photographs made square.
        return fitted(image, height, width, keep_aspect=self._signature.target_size is None)

    def _boxes_and_scores(self, outputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = outputs[self._signature.boxes], outputs[self._signature.scores]
        if boxes is not scores:
            if boxes.shape[-1:] == (4,) and boxes.size == 4 * scores.size:
                return boxes.reshape(-1, 4), scores.reshape(-1)
        elif boxes.shape[-1:] == (6,):
            rows = boxes.reshape(-1, 6)
            # Raw rows of older YOLOs, x, y, w, h, score, probability, are as wide.
            classless = rows[rows[:, 5] != np.round(rows[:, 5]), 5]
            if len(classless):
                raise DataError(
                    f"{self._path}: the sixth number of a row is {classless[0]:.3g}, no class; "
                    + _READABLE
                )
            return rows[:, :4], rows[:, 4]
        shapes = ", ".join(str(list(np.shape(output))) for output in outputs)
        raise DataError(f"{self._path} makes outputs of {shapes}; {_READABLE}")


def _fingerprint(path: Path) -> str:
    """Hash of the file, and of the weights that PyTorch writes beside a large one."""
    digest = hashlib.sha256()
    beside = path.with_name(path.name + ".data")
    for file in (path, beside) if beside.exists() else (path,):
        with open(file, "rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _shown(values: Sequence[Any]) -> str:
    shown = (f"{value.name} {value.shape} {value.type}" for value in values)
    return ", ".join(shown) or "nothing"
