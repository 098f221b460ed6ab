"""Model files that hold Python code: it is not run."""

import keras
import numpy as np
import pytest

from hslm_tf.data.errors import DataError
from hslm_tf.images.backbones import load_backbone
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.collection_file import read_parts, write_parts
from hslm_tf.retrieval.projection_heads import read_heads
from hslm_tf.runs.opening import load_model
from tests.tiny_collection import build, make_dataset, make_model


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    yield path
    assert not path.exists(), "code of a model file ran"


@pytest.fixture
def with_code(victim, tmp_path):
    """A model whose layer makes a folder when it is called."""
    place = str(victim)
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Lambda(
        lambda x: (__import__("os").mkdir(place), x)[1], output_shape=(8, 8, 3)
    )(inputs)
    path = tmp_path / "a.keras"
    keras.Model(inputs, outputs).save(path)
    return path


def test_the_code_would_run(with_code, victim):
    model = keras.saving.load_model(with_code, safe_mode=False)
    model(np.ones((1, 8, 8, 3), np.float32))
    assert victim.is_dir()
    victim.rmdir()


def test_models_and_projection_heads(with_code):
    with pytest.raises(DataError, match="a.keras is no model that can be read"):
        load_model(with_code)
    with pytest.raises(ValueError, match="a.keras cannot be read as projection heads"):
        read_heads(with_code)


def test_a_backbone(with_code):
    with pytest.raises((ValueError, OSError), match="a.keras"):
        load_backbone(str(with_code), 32)


def test_projection_heads_in_a_collection(with_code, tmp_path):
    model = make_model()
    build(model, make_dataset(4)).save(tmp_path / "a.h5")
    parts, manifest = read_parts(tmp_path / "a.h5")
    code = np.frombuffer(with_code.read_bytes(), np.uint8)
    write_parts(tmp_path / "a.h5", {**parts, "projection_heads": code}, manifest)
    with pytest.raises(DataError, match="a.h5 is damaged: .* cannot be read as projection heads"):
        Collection.load(tmp_path / "a.h5", model)
