"""Everything that Keras may find in a file comes back from its configuration as it was."""

import json

import keras
import pytest

from hslm_tf import layers, training
from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import ProjectionHead
from tests.tiny_model import SIZES, WORDS

TRIPLET = {"margin": 0.3, "seed": 5, "same_text_negatives": True}
# Arguments are other than their defaults.
EXAMPLES = [
    layers.AttentionPooling(name="a", dtype="mixed_bfloat16"),
    layers.BidirectionalGRU(6, "keras", name="a"),
    layers.ByLength([keras.layers.Dense(3)], 2, name="b"),
    layers.CrossAttention("softmax", 4.0, normalize=False, unit_inputs=True),
    layers.GraphConv("dot"),
    layers.L2Normalization(name="a", dtype="float64"),
    layers.MGCN(3, affinity="dot", normalize=False),
    layers.RegionDropping(0.3, seed=4),
    layers.SelfAttention(residual=True),
    layers.SimilarityFusion(normalize=False, balance=True, start="random"),
    layers.SimilarityRepresentation(12, "random"),
    layers.SpecialTokens(5, 6),
    layers.WordDropping(0.3, seed=4),
    ProjectionHead(7, 2, 3, seed=4, teacher_fingerprint="0" * 64),
    training.BackboneAdam(0.2, 3, learning_rate=0.5),
    training.ContrastiveLoss(5.0, "global", True, 3),
    training.HardestNegativeTripletLoss(curriculum=training.NegativeCurriculum(3, 4), **TRIPLET),
    training.LossCurriculum(
        training.ContrastiveLoss(5.0), training.HardestNegativeTripletLoss(0.3), 7
    ),
    training.NegativeCurriculum(3, 4),
    HSLM(ModelConfig(**SIZES), WORDS, dtype="mixed_bfloat16", name="other"),
]


def test_examples_are_complete():
    registered = {name for name in keras.saving.get_custom_objects() if name.startswith("hslm_tf>")}
    assert {f"hslm_tf>{type(example).__name__}" for example in EXAMPLES} == registered


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_configuration_makes_an_equal_one(example):
    config = example.get_config()
    twin = type(example).from_config(config)
    assert type(twin) is type(example) and twin.get_config() == config
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(example)))
    revived = keras.saving.deserialize_keras_object(serialized)
    assert type(revived) is type(example) and revived.get_config() == config
