"""The matcher as a whole against the loops of the oracle."""

import keras
import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.models.networks import build_matcher
from tests.layer_test import affine, assert_close, randomize
from tests.oracles.attention_pooling import attention_pooling
from tests.oracles.matcher import MatcherWeights, score_matrix
from tests.oracles.numerics import Affine
from tests.packed_example import PackedExample, packed_example

WIDTH, UNITS = 8, 6
PARTS = {
    "all": {},
    "local": {"global_alignment": False},
    "attended global": {"local_alignment": False},
    "global": {"local_alignment": False, "cross_attention": False},
    "softmax": {"attention": "softmax", "attention_scale": 9.0},
    "leaky softmax": {"attention": "leaky_softmax", "attention_scale": 9.0},
    "letter of the paper": {"attention": "dot_sigmoid", "as_printed": True},
}


@pytest.fixture(params=[("float32", 1e-5), ("float64", 1e-10)], ids=lambda param: param[0])
def precision(request):
    """Every Input of a model takes its dtype from the global setting."""
    dtype, tolerance = request.param
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    yield dtype, tolerance
    keras.config.set_floatx(before)


def build(parts: str, dtype: str) -> tuple[ModelConfig, keras.Model]:
    config = ModelConfig(joint_dim=WIDTH, similarity_dim=UNITS, **PARTS[parts])
    matcher = build_matcher(config, keras.DTypePolicy(dtype))
    randomize(matcher)
    return config, matcher


def random_affine(rng: np.random.Generator) -> Affine:
    return Affine(rng.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5, rng.normal(size=WIDTH))


def oracle_weights(config: ModelConfig, matcher: keras.Model) -> MatcherWeights:
    """The matcher's weights, and random ones for the pooling that the encoders do."""
    rng = np.random.default_rng(11)
    fusion = matcher.get_layer("similarity_fusion")
    # The gate of a single normalized vector cancels: the matcher has none, and any will do here.
    some_gate = Affine(rng.normal(size=(UNITS, 1)), rng.normal(size=1))
    gate = affine(fusion.gate) if fusion.has_gates else some_gate
    weights = MatcherWeights(gate, affine(fusion.score))
    if config.cross_attention and config.attention != "dot_sigmoid":
        gamma = np.asarray(matcher.get_layer("cross_attention").gamma)
        weights = weights._replace(gamma=gamma.item())
    if config.local_alignment:
        projection = matcher.get_layer("local_similarity").projection
        weights = weights._replace(local_projection=affine(projection))
    if config.global_alignment:
        projection = matcher.get_layer("global_similarity").projection
        weights = weights._replace(
            global_projection=affine(projection),
            text_query=random_affine(rng),
            text_key=random_affine(rng),
            image_query=random_affine(rng),
            image_key=random_affine(rng),
        )
        if config.cross_attention:
            pooling = matcher.get_layer("attended_pooling")
            weights = weights._replace(
                image_query=affine(pooling.query), image_key=affine(pooling.key)
            )
    return weights


def pool_all(blocks: list[list[np.ndarray]], query: Affine, key: Affine, dtype: str) -> np.ndarray:
    """Global vectors `[blocks, most, width]`, with zeros where a block has fewer."""
    pooled = np.zeros((len(blocks), max(map(len, blocks)), WIDTH), dtype)
    for g, matrices in enumerate(blocks):
        for n, matrix in enumerate(matrices):
            pooled[g, n] = attention_pooling(matrix, query, key)
    return pooled


def example_for(config: ModelConfig, dtype: str) -> PackedExample:
    """The encoders end with unit vectors unless they are told not to normalize."""
    return packed_example(WIDTH, dtype, unit=not config.as_printed)


def matcher_inputs(
    matcher: keras.Model, weights: MatcherWeights, dtype: str, example: PackedExample
) -> dict:
    inputs = example._asdict()
    if weights.global_projection is not None:
        inputs["text_global"] = pool_all(
            example.captions, weights.text_query, weights.text_key, dtype
        )
        inputs["image_global"] = pool_all(
            example.images, weights.image_query, weights.image_key, dtype
        )
    return {key: inputs.get(key) for key in matcher.input}


@pytest.mark.parametrize("parts", PARTS)
def test_equals_oracle(parts, precision):
    dtype, tolerance = precision
    config, matcher = build(parts, dtype)
    weights = oracle_weights(config, matcher)
    example = example_for(config, dtype)
    inputs = matcher_inputs(matcher, weights, dtype, example)
    scores = np.asarray(matcher(inputs)["scores"])
    assert scores.dtype == dtype and scores.shape == (2, 4, 3) and np.all(np.isfinite(scores))
    expected = scores.copy()
    for g, (captions, images) in enumerate(zip(example.captions, example.images, strict=True)):
        expected[g, :, : len(captions)] = score_matrix(
            captions,
            images,
            weights,
            use_cross_attention=config.cross_attention,
            use_local=config.local_alignment,
            use_global=config.global_alignment,
            activation=config.attention,
            normalize_attended=not config.as_printed,
            normalize_fusion=not config.as_printed,
        )
    assert_close(scores, expected, tolerance)
    # The test sees more than the bias of the score.
    assert np.std(expected) > 1e-2
    if "region_products" in matcher.input:
        products = matcher.get_layer("attended_pooling").region_products(inputs["regions"])
        scores = np.asarray(matcher({**inputs, "region_products": np.asarray(products)})["scores"])
        expected = np.where(np.arange(3) < [[[3]], [[2]]], expected, scores)
        assert_close(scores, expected, tolerance)
