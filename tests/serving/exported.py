"""A small model, its export, and requests that mix good rows with bad ones."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.encodings import ImageEncodings
from hslm_tf.serving.request_rows import Status
from hslm_tf.serving.savedmodel import export_model
from hslm_tf.serving.search_index import SearchIndex
from tests.tiny_model import SIZES, WORDS, random_images, randomize_model

CAPTIONS = [
    "A red dog sits on the grass",
    "the big cat runs",
    "a boy with a ball , a hat and an unseen thing",
    "Water !",
]
MAX_TOKENS = 16
# Hubness of the collection's images, which is taken off their scores.
HUBNESS = np.linspace(0, 1, 12)[np.arange(12) * 5 % 12]


class Exported(NamedTuple):
    """A model and where it was exported to, with a collection of twelve images."""

    model: HSLM
    versions: Path
    collection: dict[str, tf.Tensor]

    @property
    def path(self) -> Path:
        return self.versions / "1"


def tiny_hslm(**parts) -> HSLM:
    model = HSLM(ModelConfig(**{**SIZES, "max_tokens": MAX_TOKENS, **parts}), WORDS)
    randomize_model(model)
    return model


def search_index(model: HSLM, top_k: int = 5, num_candidates: int = 100) -> SearchIndex:
    images = ImageEncodings.from_encoding(
        model.encode_image(*float32_images(12, seed=3)), "float32"
    )
    ids = [f"bild-{number}-ü" for number in range(12)]
    collection = Collection.from_encodings(model, images, ids=ids)
    collection.encoded = dataclasses.replace(collection.encoded, image_hubness=HUBNESS)
    return SearchIndex(collection, top_k, num_candidates)


def export_tiny(folder: Path) -> Exported:
    model = tiny_hslm()
    export_model(model, folder, index=search_index(model))
    return Exported(model, folder, model.encode_image(*float32_images(12, seed=3)))


def float32_images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    regions, mask = random_images(count, seed)
    return regions.astype(np.float32), mask


def good_request(rows: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    regions, mask = float32_images(rows, seed)
    captions = [CAPTIONS[(row + seed) % len(CAPTIONS)].encode() for row in range(rows)]
    counts = mask.sum(axis=1).astype(np.int32)
    return {
        "region_features": regions,
        "num_regions": counts,
        "captions": np.array(captions, object),
    }


def scores_of(model: HSLM, request: dict[str, np.ndarray]) -> np.ndarray:
    """The model's own scores of a request."""
    mask = np.arange(request["region_features"].shape[1]) < request["num_regions"][:, None]
    return model.score(request["region_features"], list(request["captions"]), mask).numpy()


# Where a row is spoiled, with which value, and the status that the model gives it.
BAD_ROWS = {
    "nan": ("region_features", np.nan, Status.NOT_FINITE),
    "infinity": ("region_features", -np.inf, Status.NOT_FINITE),
    "no regions": ("num_regions", 0, Status.NO_REGIONS),
    "negative count": ("num_regions", -3, Status.NO_REGIONS),
    "too many regions": ("num_regions", 7, Status.TOO_MANY_REGIONS),
    "empty": ("captions", b"", Status.EMPTY_CAPTION),
    "white space": ("captions", " \t\n\u3000".encode(), Status.EMPTY_CAPTION),
    "not UTF-8": ("captions", b"a caf\xe9", Status.INVALID_UTF8),
    "too long": ("captions", b"dog " * (MAX_TOKENS - 1), Status.TOO_MANY_WORDS),
}


def spoil(request: dict[str, np.ndarray], row: int, kind: str) -> Status:
    """Spoils a row of a request in one of the ways of `BAD_ROWS`."""
    name, value, status = BAD_ROWS[kind]
    place = (row, 0, 3) if name == "region_features" else row
    request[name][place] = value
    return status
