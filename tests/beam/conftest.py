"""A small exported model with trained-looking heads, and a folder of images for it."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("apache_beam", reason="the extra beam is not installed")

from hslm_tf.beam import work_folder
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import ProjectionHeads, new_heads
from hslm_tf.serving.savedmodel import export_model
from tests.serving.exported import tiny_hslm
from tests.tiny_model import random_images

IMAGES = 23


class Small(NamedTuple):
    """A model, its heads, and where it was exported to."""

    model: HSLM
    heads: ProjectionHeads
    path: Path


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    model = tiny_hslm(image_global="regions")
    heads = new_heads(16, 5, concepts=7, teacher_fingerprint=model_fingerprint(model))
    rng = np.random.default_rng(1)
    for weight in heads.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return Small(model, heads, export_model(model, tmp_path_factory.mktemp("m"), heads=heads))


@pytest.fixture
def exported_before(small, monkeypatch):
    """A work folder takes what is exported already, because an export takes seconds."""

    def export(model, out, heads):
        assert (model, heads) == small[:2]
        return Path(shutil.copytree(small.path, out / "1"))

    monkeypatch.setattr(work_folder, "export_model", export)


def too_large(model: HSLM) -> np.ndarray:
    """A finite region feature, `[12]`, that the model cannot compute with."""
    kernel = model.image_encoder.weights[0].numpy()
    assert len(kernel) == 12
    return np.float32(3e38) * np.sign(kernel[:, 0])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images with ids, boxes and 2 to 5 of 5 regions, one less than the model takes."""
    folder = tmp_path / "data"
    folder.mkdir()
    regions, mask = random_images(IMAGES)
    regions, counts = regions[:, :5].astype(np.float32), mask[:, :5].sum(axis=1)
    np.save(folder / "mine_ims.npy", regions)
    np.save(folder / "mine_num_regions.npy", counts)
    np.save(folder / "mine_boxes.npy", np.random.default_rng(2).uniform(size=(IMAGES, 5, 4)))
    names = "".join(f"bild-{i}-ü\n" for i in range(IMAGES))
    (folder / "mine_ids.txt").write_text(names, "utf-8")
    return folder
