"""The networks of a model are Keras models of their own."""

import keras
import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.data.pipeline import training_batches
from hslm_tf.data.sample import load_sample
from hslm_tf.models.hslm import HSLM
from tests.tiny_model import SIZES, WORDS, random_batch, randomize_model

PARTS = ("image_encoder", "text_encoder", "matcher")


@pytest.fixture(scope="module", params=["attended", "regions"])
def model(request):
    config = ModelConfig(**SIZES, drop_words=0.1, drop_regions=0.1, image_global=request.param)
    model = HSLM(config, WORDS)
    randomize_model(model)
    return model


def weights(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in model.weights]


@pytest.mark.parametrize("part", PARTS)
def test_parts_are_saved_and_loaded(part, model, tmp_path):
    network = getattr(model, part)
    network.save(tmp_path / "part.keras")
    loaded = keras.saving.load_model(tmp_path / "part.keras")
    for one, other in zip(weights(network), weights(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.to_json() == network.to_json()


def test_model_and_parts_are_cloned(model):
    for network in (model, *(getattr(model, part) for part in PARTS)):
        copy = keras.models.clone_model(network)
        assert [w.shape for w in copy.weights] == [w.shape for w in network.weights]
    assert keras.models.model_from_json(model.to_json()).config == model.config


def test_what_fit_takes_predict_and_call_take(model):
    batch = random_batch([0, 1, 1])
    pairs = {key: value for key, value in batch.items() if key != "image_index"}
    expected = model(pairs)["score"]
    np.testing.assert_allclose(model(batch)["score"], expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(batch, verbose=0)["score"], expected, atol=1e-6)
    with pytest.raises(ValueError, match="token_ids"):
        model({key: batch[key] for key in ("region_features", "region_mask")})


def test_raw_features_are_not_taken_for_encoded_ones():
    """Though they are as wide: both have 12 columns."""
    model = HSLM(ModelConfig(**{**SIZES, "joint_dim": SIZES["region_dim"]}), WORDS)
    batch = random_batch([0, 1])
    texts = model.encode_tokens(batch["token_ids"])
    raw = {key: batch[key] for key in ("region_features", "region_mask")}
    with pytest.raises(ValueError, match="`images` must be encoded: no 'regions' in it. Received:"):
        model.score_encoded(raw, texts)
    with pytest.raises(ValueError, match="`texts` must be encoded: no 'words' in it. Received:"):
        model.score_encoded(model.image_encoder(raw), {"token_ids": batch["token_ids"]})


def test_batches_of_the_pipeline_are_predicted():
    data = load_sample("dev").subset(0, 2)
    model = HSLM.from_preset("sample", WORDS, joint_dim=8, word_dim=8, similarity_dim=8)
    tokens = model.tokenizer.tokenize_all(data.captions)
    found = model.predict(training_batches(data, tokens, batch_size=4), steps=3, verbose=0)
    assert found["score"].shape == (10,)


@pytest.mark.parametrize(
    "arguments", [{"jit_compile": True}, {"metrics": ["accuracy"]}, {"loss_weights": [1.0]}]
)
def test_nothing_is_ignored_in_silence(arguments, model):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Received: {name}="):
        model.compile(**arguments)
