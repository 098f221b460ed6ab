"""Layers of the MGCN: the relations that each sees in an image and a caption, and its recall."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.explanation import tokens_of
from hslm_tf.report.pages import Section, render
from hslm_tf.report.pictures import find_image, picture_of, rectangles_of
from hslm_tf.report.recall_section import RECALL_COLUMNS, recalls_of

# Relations that are drawn in an image.
_STRONGEST = 10


def mgcn_section(
    model: HSLM,
    dataset: RetrievalDataset,
    image_folder: str | os.PathLike[str] | None = None,
    max_images: int = 200,
) -> Section | None:
    """Shows the relations of the layers of the MGCN, and recall with fewer layers."""
    if not model.config.mgcn:
        return None
    # Recall is measured once for every layer: a few images must do.
    num_images = min(max_images, dataset.num_images)
    subset = dataset.subset(0, num_images)
    table = _recall_table(recalls_by_layers(model, subset), dataset, num_images)
    caption = subset.captions[int(np.flatnonzero(subset.caption_to_image == 0)[0])]
    words, matrices = caption_relations(model, caption)
    body = render(
        "mgcn_layers.html",
        table=table,
        image=_drawing(model, dataset, image_folder),
        caption=caption,
        words=words,
        matrices=[(np.abs(matrix).max() or 1.0, matrix.tolist()) for matrix in matrices],
    )
    return Section("mgcn-layers", "What each layer of the MGCN adds", body, [table])


def recalls_by_layers(model: HSLM, dataset: RetrievalDataset) -> list[RecallReport]:
    """Measures recall with the first 0, 1, ... and with all layers of the MGCN."""
    numbers = range(model.config.mgcn_layers + 1)
    return [evaluate(with_layers(model, number), dataset) for number in numbers]


def with_layers(model: HSLM, num_layers: int) -> HSLM:
    """The same model without the last layers of the MGCN, in both modalities."""
    config = dataclasses.replace(model.config, mgcn=num_layers > 0, mgcn_layers=max(num_layers, 1))
    cut = HSLM.from_config({**model.get_config(), "config": dataclasses.asdict(config)})
    weights = {weight.path: weight for weight in model.weights}
    for weight in cut.weights:
        weight.assign(weights[weight.path])
    return cut


def _recall_table(
    reports: Sequence[RecallReport], dataset: RetrievalDataset, num_images: int
) -> DataTable:
    rows = []
    for number, report in enumerate(reports):
        gain = f"{report.rsum - reports[number - 1].rsum:+.1f}" if number else ""
        cells = [f"{number:.1f}" for number in (*recalls_of(report), report.rsum)]
        rows.append((str(number), *cells, gain))
    all_images = num_images == dataset.num_images
    which = f"all {num_images}" if all_images else f"the first {num_images} of {dataset.num_images}"
    return DataTable(
        "mgcn_layers",
        "Recall with the first layers of the MGCN only",
        ("layers", *RECALL_COLUMNS, "rsum", "adds"),
        rows,
        frozenset({len(rows) - 1}),
        f"On {which} images of {dataset.name}, ranked among one another. The last row is the model "
        "itself. Nothing was trained again: what follows the MGCN was trained on the output of its "
        "last layer, so the other rows do not say how a model trained with fewer layers would do.",
    )


def _drawing(
    model: HSLM, dataset: RetrievalDataset, image_folder: str | os.PathLike[str] | None
) -> dict[str, Any] | None:
    """The first image with the strongest relations of every layer; None without boxes."""
    image = np.array([0])
    image_id = ids_or_numbers(dataset)[0]
    boxes, picture = dataset.read_boxes(image), picture_of(find_image(image_folder, image_id))
    rectangles = rectangles_of(None if boxes is None else boxes[0], picture)
    if rectangles is None:
        return None
    features, mask = dataset.read_images(image)
    rectangles = rectangles[mask[0]]
    matrices = image_relations(model, features[0], mask[0])
    return {
        "id": image_id,
        "picture": picture,
        "rectangles": rectangles.tolist(),
        "layers": [strongest_lines(matrix, rectangles) for matrix in matrices],
    }


def image_relations(
    model: HSLM, region_features: np.ndarray, region_mask: np.ndarray
) -> list[np.ndarray]:
    """The relation matrices of an image (Eq. 7), one for each layer."""
    inputs = {"region_features": region_features[None], "region_mask": region_mask[None]}
    return _relations(model.image_encoder, "image_mgcn", inputs)


def caption_relations(model: HSLM, caption: str) -> tuple[list[str], list[np.ndarray]]:
    """The words of a caption and its relation matrices (Eq. 7), one for each layer."""
    ids = model.tokenizer(tf.constant([caption])).to_tensor()
    return tokens_of(model, caption), _relations(
        model.text_encoder, "text_mgcn", {"token_ids": ids}
    )


def _relations(encoder: keras.Model, name: str, inputs: Mapping[str, Any]) -> list[np.ndarray]:
    mgcn = encoder.get_layer(name)
    inputs = {key: tf.convert_to_tensor(value) for key, value in inputs.items()}
    nodes, mask = keras.Model(encoder.input, mgcn.input)(inputs, training=False)
    real = np.asarray(mask)[0]
    return [
        np.asarray(matrix, np.float32)[0][np.ix_(real, real)]
        for matrix in mgcn.relations(nodes, mask)
    ]


class Line(NamedTuple):
    """A relation of two regions, from the centre of one to that of the other."""

    x1: float
    y1: float
    x2: float
    y2: float
    value: float
    share: float  # of the strongest


def strongest_lines(matrix: np.ndarray, rectangles: np.ndarray) -> list[Line]:
    """The strongest relations between different regions: of A_ij and A_ji the larger."""
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
