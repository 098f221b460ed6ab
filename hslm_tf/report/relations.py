"""The relation matrices of the MGCN: what each layer relates in an image and in a caption."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.models.hslm import HSLM
from hslm_tf.text.tokenization import tokenize

# Relations that are drawn in an image.
_STRONGEST = 10


class Line(NamedTuple):
    """A relation of two regions, from the centre of one to that of the other."""

    x1: float
    y1: float
    x2: float
    y2: float
    value: float
    share: float


def image_relations(
    model: HSLM, region_features: np.ndarray, region_mask: np.ndarray
) -> list[np.ndarray]:
    """The relation matrices of an image (Eq. 7)."""
    inputs = {"region_features": region_features[None], "region_mask": region_mask[None]}
    return _relations(model.image_encoder, "image_mgcn", inputs)


def caption_relations(model: HSLM, caption: str) -> tuple[list[str], list[np.ndarray]]:
    """The relation matrices of a caption (Eq. 7)."""
    ids = model.tokenizer(tf.constant([caption])).to_tensor()
    words = [
        word.decode("utf-8", "replace") for word in tokenize(tf.constant([caption]))[0].numpy()
    ]
    # The model truncates long captions.
    words = ["<start>", *words[: ids.shape[1] - 2], "<end>"]
    return words, _relations(model.text_encoder, "text_mgcn", {"token_ids": ids})


def _relations(encoder: keras.Model, name: str, inputs: Mapping[str, Any]) -> list[np.ndarray]:
    mgcn = encoder.get_layer(name)
    inputs = {key: tf.convert_to_tensor(value) for key, value in inputs.items()}
    nodes, mask = keras.Model(encoder.input, mgcn.input)(inputs, training=False)
    real = np.asarray(mask)[0]
    return [
        np.asarray(matrix, np.float32)[0][np.ix_(real, real)]
        for matrix in mgcn.relations(nodes, mask)
    ]


def strongest_lines(matrix: np.ndarray, rectangles: np.ndarray) -> list[Line]:
    """The strongest relations between different regions of an image."""
    first, second = np.triu_indices(len(matrix), k=1)
    there, back = matrix[first, second], matrix[second, first]
    values = np.where(np.abs(there) >= np.abs(back), there, back)
    strongest = np.argsort(np.abs(values), kind="stable")[-_STRONGEST:]
    centres = rectangles[:, :2] + rectangles[:, 2:] / 2
    largest = np.abs(values).max(initial=0)
    return [
        Line(
            *centres[first[place]].tolist(),
            *centres[second[place]].tolist(),
            value=float(values[place]),
            share=float(abs(values[place]) / largest),
        )
        for place in strongest
        if values[place]
    ]
