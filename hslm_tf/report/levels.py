"""What each layer of the MGCN adds."""

import dataclasses
import os
from typing import Any

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.pictures import picture_of
from hslm_tf.report.recall_cells import RECALL_COLUMNS, recalls_of
from hslm_tf.report.regions import height_of, rectangles_of
from hslm_tf.report.relations import caption_relations, image_relations, strongest_lines
from hslm_tf.report.rendering import render
from hslm_tf.report.section import Section


def levels_section(
    model: HSLM,
    dataset: RetrievalDataset,
    image_folder: str | os.PathLike[str] | None = None,
    max_images: int = 200,
) -> Section | None:
    """Shows what the layers of the MGCN relate, and recall with fewer of them."""
    if not model.config.mgcn:
        return None
    num_images = min(max_images, dataset.num_images)
    subset = dataset.subset(0, num_images)
    table = _recall_table(level_recalls(model, subset), dataset, num_images)
    caption = subset.captions[int(np.flatnonzero(subset.caption_to_image == 0)[0])]
    words, matrices = caption_relations(model, caption)
    body = render(
        "levels.html",
        table=table,
        image=_drawing(model, dataset, image_folder),
        caption=caption,
        words=words,
        matrices=[(np.abs(matrix).max() or 1.0, matrix.tolist()) for matrix in matrices],
    )
    return Section("levels", "What each layer of the MGCN adds", body, [table])


def level_recalls(model: HSLM, dataset: RetrievalDataset) -> list[RecallReport]:
    """Measures recall with the first layers of the MGCN only."""
    numbers = range(model.config.mgcn_layers + 1)
    return [evaluate(with_layers(model, number), dataset) for number in numbers]


def with_layers(model: HSLM, num_layers: int) -> HSLM:
    """Takes the last layers of the MGCN out of a trained model."""
    config = dataclasses.replace(model.config, mgcn=num_layers > 0, mgcn_layers=max(num_layers, 1))
    cut = HSLM(config, model.vocabulary, model.policy_name)
    weights = {weight.path: weight for weight in model.weights}
    for weight in cut.weights:
        weight.assign(weights[weight.path])
    return cut


def _recall_table(
    reports: list[RecallReport], dataset: RetrievalDataset, num_images: int
) -> DataTable:
    rows = []
    for number, report in enumerate(reports):
        gain = f"{report.rsum - reports[number - 1].rsum:+.1f}" if number else ""
        cells = [f"{number:.1f}" for number in (*recalls_of(report), report.rsum)]
        rows.append((str(number), *cells, gain))
    all_images = num_images == dataset.num_images
    which = f"all {num_images}" if all_images else f"the first {num_images} of {dataset.num_images}"
    return DataTable(
        "mgcn_levels",
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
    boxes, picture = dataset.read_boxes(image), picture_of(image_folder, image_id)
    rectangles = rectangles_of(None if boxes is None else boxes[0], picture)
    if rectangles is None:
        return None
    features, mask = dataset.read_images(image)
    rectangles = rectangles[mask[0]]
    matrices = image_relations(model, features[0], mask[0])
    return {
        "id": image_id,
        "picture": picture,
        "height": height_of(picture),
        "rectangles": rectangles.tolist(),
        "layers": [strongest_lines(matrix, rectangles) for matrix in matrices],
    }
