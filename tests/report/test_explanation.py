import dataclasses

import keras
import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.text_backbone import load_text_backbone
from hslm_tf.report.explanation import (
    Explainer,
    attention_is_trained,
    explainer_of,
    untrained_note,
)
from hslm_tf.report.retrieval_examples import retrieval_examples_section
from hslm_tf.training import ContrastiveLoss
from hslm_tf.training.callbacks import averaged_weights
from tests.report.test_retrieval_examples import DATASET, SCORES
from tests.tiny_bert import write_bert
from tests.tiny_model import SIZES, WORDS, random_batch, random_images

CONFIG = ModelConfig(
    **SIZES, mgcn=False, self_attention=False, image_global="regions", attention="leaky_softmax"
)


def trained(on: str) -> HSLM:
    """A model after a few steps, with averaged weights."""
    model = HSLM(CONFIG, WORDS)
    optimizer = keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, ContrastiveLoss(on=on))
    batch = random_batch(range(8))
    for _ in range(3):
        model.train_step(batch)
    return model


@pytest.mark.parametrize("on, taught", [("global", False), ("parts", True), ("score", True)])
def test_words_are_taught_where_to_look_by_what_compares_them(on, taught):
    model = trained(on)
    with averaged_weights(model):
        assert (explainer_of(model) is not None) == taught
        page = retrieval_examples_section(model, DATASET, SCORES, num_queries=2).body
        assert ("never taught where to look" in untrained_note(model)) == (not taught)
    assert ("never taught where to look" in page) == (not taught)
    assert ("Point at a word" in page) == taught
    # Regions of words are drawn as rectangles.
    assert ("<rect" in page) == taught


def test_pieces_of_a_word_are_joined_with_their_mean(tmp_path):
    backbone = load_text_backbone(str(write_bert(tmp_path / "bert")))
    model = HSLM(dataclasses.replace(CONFIG, text_encoder="transformer"), backbone)
    regions, mask = random_images(1)
    image = model.encode_image(regions, mask)
    joined = Explainer(model).explain(image, "a dog of thing12 runs")
    assert joined.words == ["a", "dog", "of", "thing12", "runs"]
    # Every piece as a caption's word of its own, from the layers themselves.
    texts = model.encode_text(["a dog of thing12 runs"])
    _, weights = model.matcher.get_layer("cross_attention")(
        texts["words"],
        image["regions"][None],
        image["region_mask"][None],
        np.zeros((1, 7), np.int32),
    )
    weights = np.asarray(weights)[0, 0]
    weights = weights / weights.max(axis=1, keepdims=True)
    np.testing.assert_allclose(joined.attention[3], weights[3:6].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(joined.attention[4], weights[6], atol=1e-6)


def test_without_cross_attention_nothing_is_trained():
    config = ModelConfig(**SIZES, cross_attention=False, local_alignment=False)
    assert not attention_is_trained(HSLM(config, WORDS))


def test_attention_without_a_scale_counts_as_taught():
    assert attention_is_trained(HSLM(ModelConfig(**SIZES, attention="hard"), WORDS))
