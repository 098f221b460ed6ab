import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.attention_forms import FORMS, with_form
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import PRESETS
from tests.tiny_model import SIZES, WORDS, random_images, randomize_model

CONFIG = dataclasses.replace(
    PRESETS["sample"].model, **SIZES, attention="softmax", attention_scale=20.0
)
CAPTIONS = ["a red dog sits", "the big cat runs on grass"]


@pytest.fixture
def model():
    model = HSLM(CONFIG, WORDS)
    randomize_model(model)
    return model


def scores(model: HSLM) -> np.ndarray:
    regions, region_mask = random_images(3)
    # Without the graphs for inference, which would be traced for every form.
    images = model.image_encoder({"region_features": regions, "region_mask": region_mask})
    texts = model.text_encoder({"token_ids": model.tokenizer(tf.constant(CAPTIONS)).to_tensor()})
    return model.score_all(images, texts).numpy()


def test_forms_differ_in_attention_alone(model):
    found = {name: scores(with_form(model, changes)) for name, changes in FORMS.items()}
    for name, matrix in found.items():
        others = [other for key, other in found.items() if key != name]
        assert all(np.abs(matrix - other).max() > 1e-5 for other in others), name
    # The scale is the configuration's, not the trained one.
    model.matcher.get_layer("cross_attention").gamma.assign(20.0)
    np.testing.assert_allclose(found["softmax, 20"], scores(model), atol=1e-6)


def test_global_vectors_alone_score_as_in_training(model):
    alone = scores(with_form(model, FORMS["global vectors alone"]))
    images, texts = model.encode_image(*random_images(3)), model.encode_text(CAPTIONS)
    similarity = model.matcher.get_layer("global_similarity")
    fusion = model.matcher.get_layer("similarity_fusion")
    vectors = similarity(texts["text_global"][None, None], images["image_global"][None, :, None])
    np.testing.assert_allclose(alone, fusion({"global": vectors})[0], atol=1e-6)


def test_image_without_a_global_vector_of_its_own():
    model = HSLM(dataclasses.replace(CONFIG, image_global="attended"), WORDS)
    with pytest.raises(ValueError, match="image_global=attended$"):
        with_form(model, FORMS["softmax, 20"])
