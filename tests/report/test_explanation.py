import keras
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.explanation import attention_is_trained, explainer_of, untrained_note
from hslm_tf.report.retrieval_examples import retrieval_examples_section
from hslm_tf.training import ContrastiveLoss
from hslm_tf.training.callbacks import averaged_weights
from tests.report.test_retrieval_examples import DATASET, SCORES
from tests.tiny_model import SIZES, WORDS, random_batch

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


def test_without_cross_attention_nothing_is_trained():
    config = ModelConfig(**SIZES, cross_attention=False, local_alignment=False)
    assert not attention_is_trained(HSLM(config, WORDS))


def test_attention_without_a_scale_counts_as_taught():
    assert attention_is_trained(HSLM(ModelConfig(**SIZES, attention="hard"), WORDS))
