"""Whether words point at what they name: the regions of nouns that name a detected object."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.npy import map_array
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.data_table import DataTable, group_rows
from hslm_tf.report.explanation import Explainer
from hslm_tf.report.pages import Section, plain_section

# COCO's class of nouns that name one, counted from 0 among its 80 classes.
CLASS_OF_NOUN = {
    **dict.fromkeys(("man", "woman", "boy", "girl", "person", "people", "child"), 0),
    **dict.fromkeys(("bicycle", "bike"), 1),
    **dict.fromkeys(("dog", "dogs"), 16),
    **{"car": 2, "motorcycle": 3, "boat": 8, "bench": 13, "bird": 14, "horse": 17},
    **{"frisbee": 29, "ball": 32, "skateboard": 36, "surfboard": 37},
}
# A detection below this confidence says nothing about the photograph.
_CONFIDENT = 0.4
# A larger region, as a share of the photograph, points at nothing.
_LARGEST = 0.6
_MAX_IMAGES = 220


class Detections(NamedTuple):
    """A detector's findings in the regions of each image, `[images, N]`."""

    classes: np.ndarray  # COCO's, negative for a fixed box
    confidences: np.ndarray


class Pointing(NamedTuple):
    """Where nouns point, one entry for each noun of a caption."""

    words: list[str]
    right: np.ndarray  # whether the most attended region lies on an object of the noun's class
    chances: np.ndarray  # the share of the image's regions that do


def read_detections(dataset: RetrievalDataset) -> Detections | None:
    """Reads `{split}_box_class.npy` and `{split}_box_score.npy` beside the region features."""
    features = Path(dataset.source)
    files = [features.with_name(f"{dataset.name}_box_{part}.npy") for part in ("class", "score")]
    if dataset.boxes is None or not all(file.exists() for file in files):
        return None
    parts, expected = [], dataset.region_features.shape[:2]
    for file in files:
        values = map_array(file)
        if values.shape != expected:
            raise DataError(f"{file} has shape {values.shape}, expected {expected}")
        parts.append(np.asarray(values[dataset.image_rows]))
    return Detections(*parts)


def measure_pointing(
    model: HSLM, dataset: RetrievalDataset, detections: Detections, max_images: int = _MAX_IMAGES
) -> Pointing:
    """Finds where nouns point that name a detected object beside one of another class."""
    explainer = Explainer(model)
    entries: list[tuple[str, bool, float]] = []
    for image in np.random.RandomState(0).permutation(dataset.num_images)[:max_images]:
        classes, confidences = (values[image] for values in detections)
        seen = (confidences > _CONFIDENT) & (classes >= 0)
        if len(set(classes[seen])) < 2:
            continue
        boxes = dataset.read_boxes(np.array([image]))[0]
        encoded = model.encode_image(*dataset.read_images(np.array([image])))
        for caption in np.flatnonzero(dataset.caption_to_image == image):
            text = dataset.captions[caption]
            nouns = set(text.lower().split()) & set(CLASS_OF_NOUN)
            nouns = [noun for noun in sorted(nouns) if CLASS_OF_NOUN[noun] in classes[seen]]
            explained = explainer.explain(encoded, text) if nouns else None
            for noun in nouns:
                if noun not in explained.words:
                    continue
                right = _lies_on(boxes, boxes[seen & (classes == CLASS_OF_NOUN[noun])])
                most = explained.attention[explained.words.index(noun)].argmax()
                entries.append((noun, bool(right[most]), float(right.mean())))
    words, right, chances = zip(*entries, strict=True) if entries else ((), (), ())
    return Pointing(list(words), np.array(right, bool), np.array(chances, float))


def _lies_on(regions: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Whether the middle of each region `[N, 4]` lies on one of the objects `[n, 4]`."""
    x, y = regions[:, None, 0::2].mean(axis=-1), regions[:, None, 1::2].mean(axis=-1)
    within = (objects[:, 0] < x) & (x < objects[:, 2]) & (objects[:, 1] < y) & (y < objects[:, 3])
    sizes = (regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1])
    return within.any(axis=1) & (sizes < _LARGEST)


def pointing_table(pointing: Pointing, model: str = "") -> DataTable:
    """Shows how often every noun points right, and all of them together."""
    rows = group_rows(pointing.words, pointing.right, pointing.chances)
    return DataTable(
        "pointing",
        f"Words that point at what they name {model}".strip(),
        ("noun", "times", "points right %", "chance %"),
        rows,
        frozenset({len(rows) - 1}),
        "A noun points right where the middle of its most attended region lies on an object of its "
        "class, as a detector saw it. Only nouns whose class was seen beside another class count.",
    )


def pointing_section(model: HSLM, dataset: RetrievalDataset) -> Section | None:
    """Shows where nouns point, if there are detections and cross-attention."""
    detections = read_detections(dataset) if model.config.cross_attention else None
    pointing = detections and measure_pointing(model, dataset, detections)
    if not pointing or not pointing.words:
        return None
    text = [
        f"{len(pointing.words)} nouns of {_MAX_IMAGES} images at most: "
        f"{100 * pointing.right.mean():.1f}% point right, by chance "
        f"{100 * pointing.chances.mean():.1f}% would."
    ]
    return plain_section("pointing", "Where words point", text, [pointing_table(pointing)])
