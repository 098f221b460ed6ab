"""Detectors in ONNX files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hslm_tf.command_line import load_extra
from hslm_tf.data.errors import DataError
from hslm_tf.data.regular_file import regular_file
from hslm_tf.images.detections import Detections, cleaned, fitted

# Side of a photograph where a file takes any size. Detectors halve their input five times.
_SIDE, _STEP = 640, 32
_READABLE = (
    "readable are detectors whose file ends in their final boxes, in pixels: outputs boxes [n, 4], "
    "labels [n] and scores [n] (torchvision, RT-DETR, D-FINE), or one output [n, 6] of x0, y0, x1, "
    "y1, score, class (YOLOv10, YOLO26), for one photograph [1, 3, h, w], [3, h, w] or [1, h, w, 3]"
)
_PIXELS = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
_FLOATS = ("tensor(float)", "tensor(float16)")
_INTEGERS = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}


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
        signature = _read_signature(inputs, outputs)
        if signature is None:
            raise DataError(
                f"{path} takes {_shown(inputs)} and makes {_shown(outputs)}; {_READABLE}"
            )
        self._signature = signature

    def detect(self, image: np.ndarray, image_id: str) -> Detections:
        """Finds the boxes of a photograph."""
        signature = self._signature
        factor = _SIDE / max(image.shape[:2])
        height, width = (
            fixed or int(np.ceil(max(1, round(side * factor)) / _STEP)) * _STEP
            for fixed, side in zip(signature.size, image.shape[:2], strict=True)
        )
        # RT-DETR and others that take a target size were trained on photographs made square.
        pixels, scale = fitted(image, height, width, keep_aspect=signature.target_size is None)
        if signature.pixel_type is not np.uint8:
            pixels = (pixels / np.float32(255)).astype(signature.pixel_type)
        if signature.channels_first:
            pixels = pixels.transpose(2, 0, 1)
        pixels = np.ascontiguousarray(pixels[None] if signature.batched else pixels)
        inputs = {signature.pixels: pixels}
        if signature.target_size is not None:
            inputs[signature.target_size] = np.array([[width, height]], signature.target_type)
        try:
            outputs = self._session.run(None, inputs)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self._path} cannot be run: {reason}") from error
        boxes, scores = self._boxes_and_scores(outputs)
        return cleaned(boxes / scale, scores)

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
    total = hashlib.sha256()
    beside = path.with_name(path.name + ".data")
    for file in (path, beside) if beside.exists() else (path,):
        with open(regular_file(file), "rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


class _Signature(NamedTuple):
    """The inputs of a detector by name, and the places of its outputs."""

    pixels: str
    pixel_type: type
    batched: bool
    channels_first: bool
    size: tuple[int | None, int | None]  # height and width, None where any is taken
    target_size: str | None  # input with the size that boxes are scaled to
    target_type: type | None
    boxes: int
    scores: int  # the same output as boxes, `[n, 6]`, or another, `[n]`


def _read_signature(inputs: Sequence[Any], outputs: Sequence[Any]) -> _Signature | None:
    """Recognises a detector by the names, shapes and types of its inputs and outputs."""
    places = _output_places(outputs)
    images = [value for value in inputs if value.type in _PIXELS and len(value.shape) in (3, 4)]
    targets = [value for value in inputs if value.type in _INTEGERS and len(value.shape) == 2]
    known = len(images) + len(targets) == len(inputs)
    if places is None or len(images) != 1 or len(targets) > 1 or not known:
        return None
    (image,) = images
    channels, *_, last = image.shape[-3:]
    # Where all sizes are free the channels come first, as in PyTorch, which most files come from.
    channels_first = channels == 3 or (last != 3 and not isinstance(channels, int))
    if not channels_first and last != 3:
        return None
    sides = image.shape[-2:] if channels_first else image.shape[-3:-1]
    height, width = (side if isinstance(side, int) else None for side in sides)
    return _Signature(
        image.name,
        _PIXELS[image.type],
        len(image.shape) == 4,
        channels_first,
        (height, width),
        targets[0].name if targets else None,
        _INTEGERS[targets[0].type] if targets else None,
        *places,
    )


def _output_places(outputs: Sequence[Any]) -> tuple[int, int] | None:
    """Places of boxes and scores."""
    names = [output.name.lower() for output in outputs]
    if {"boxes", "scores"} <= set(names):
        return names.index("boxes"), names.index("scores")
    if len(outputs) == 1:
        return (0, 0) if _are_rows(outputs[0], 6) else None
    # Without names, boxes and scores are final ones only if classes stand beside them.
    boxes = [place for place, output in enumerate(outputs) if _are_rows(output, 4)]
    for place in boxes:
        rank = len(outputs[place].shape) - 1
        same = [n for n, output in enumerate(outputs) if len(output.shape) == rank]
        scores = [n for n in same if outputs[n].type in _FLOATS]
        classes = [n for n in same if outputs[n].type in _INTEGERS]
        if len(boxes) == len(scores) == len(classes) == 1:
            return place, scores[0]
    return None


def _are_rows(output: Any, length: int) -> bool:
    """Whether an output may hold rows of that many numbers."""
    if output.type not in _FLOATS or len(output.shape) not in (2, 3):
        return False
    return output.shape[-1] == length or not isinstance(output.shape[-1], int)


def _shown(values: Sequence[Any]) -> str:
    shown = (f"{value.name} {value.shape} {value.type}" for value in values)
    return ", ".join(shown) or "nothing"
