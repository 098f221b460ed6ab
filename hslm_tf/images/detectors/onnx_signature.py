"""What goes into a detector's ONNX file and what comes out, by names, shapes and types."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_TYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_PIXELS = ("tensor(uint8)", "tensor(float)", "tensor(float16)")
_FLOATS = ("tensor(float)", "tensor(float16)")
_INTEGERS = ("tensor(int32)", "tensor(int64)")


class OnnxSignature(NamedTuple):
    """How a detector is asked and where its answer stands."""

    pixels: str
    pixel_type: type
    batched: bool
    channels_first: bool
    size: tuple[int | None, int | None]
    target_size: str | None
    target_type: type | None
    boxes: int
    scores: int


def read_signature(inputs: Sequence[Any], outputs: Sequence[Any]) -> OnnxSignature | None:
    """Recognises a detector."""
    places = _places(outputs)
    images = [value for value in inputs if value.type in _PIXELS and len(value.shape) in (3, 4)]
    targets = [value for value in inputs if value.type in _INTEGERS and len(value.shape) == 2]
    known = len(images) + len(targets) == len(inputs)
    if places is None or len(images) != 1 or len(targets) > 1 or not known:
        return None
    (image,) = images
    channels, *_, last = image.shape[-3:]
    # Where all is free, it is as PyTorch, which most files come from, has it.
    channels_first = channels == 3 or (last != 3 and not isinstance(channels, int))
    if not channels_first and last != 3:
        return None
    sides = image.shape[-2:] if channels_first else image.shape[-3:-1]
    height, width = (side if isinstance(side, int) else None for side in sides)
    return OnnxSignature(
        image.name,
        _TYPES[image.type],
        len(image.shape) == 4,
        channels_first,
        (height, width),
        targets[0].name if targets else None,
        _TYPES[targets[0].type] if targets else None,
        *places,
    )


def _places(outputs: Sequence[Any]) -> tuple[int, int] | None:
    """Places of boxes and scores."""
    names = [output.name.lower() for output in outputs]
    if {"boxes", "scores"} <= set(names):
        return names.index("boxes"), names.index("scores")
    if len(outputs) == 1:
        shape = outputs[0].shape
        fits = outputs[0].type in _FLOATS and len(shape) in (2, 3) and _may_be(shape[-1], 6)
        return (0, 0) if fits else None
    # Without names: only with classes beside them are boxes and scores final ones.
    boxes = [
        place
        for place, output in enumerate(outputs)
        if output.type in _FLOATS and len(output.shape) in (2, 3) and _may_be(output.shape[-1], 4)
    ]
    for place in boxes:
        rank = len(outputs[place].shape) - 1
        same = [n for n, output in enumerate(outputs) if len(output.shape) == rank]
        scores = [n for n in same if outputs[n].type in _FLOATS]
        classes = [n for n in same if outputs[n].type in _INTEGERS]
        if len(boxes) == len(scores) == len(classes) == 1:
            return place, scores[0]
    return None


def _may_be(side: Any, length: int) -> bool:
    return side == length or not isinstance(side, int)
