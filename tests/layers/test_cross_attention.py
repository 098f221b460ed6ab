import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.layers import CrossAttention
from hslm_tf.layers.cross_attention import ACTIVATIONS
from tests.layer_test import assert_close, randomize, run_layer_test
from tests.oracles.cross_attention import cross_attention
from tests.oracles.numerics import cosine
from tests.packed_example import packed_example

WIDTH = 8
WITHOUT_GAMMA = ("hard", "dot_sigmoid")
OPTIONS = [(activation, normalize) for activation in ACTIVATIONS for normalize in (True, False)]


@pytest.mark.parametrize("activation, normalize", OPTIONS)
def test_layer(activation, normalize):
    example = packed_example(WIDTH, garbage=1.0)
    padded = packed_example(WIDTH)
    run_layer_test(
        CrossAttention,
        init_kwargs={"activation": activation, "scale": 4.0, "normalize": normalize},
        inputs={
            "words": example.words[:, :8],
            "regions": example.regions[:, :, :5],
            "region_mask": example.region_mask[:, :, :5],
            "segment_ids": example.segment_ids[:, :8],
        },
        expected_output_shape=((2, 4, 8, WIDTH), (2, 4, 8, 5)),
        expected_num_weights=0 if activation in WITHOUT_GAMMA else 1,
        output_in_float32=(False, True),
        padded_inputs={
            "words": np.concatenate([example.words[:, :8], padded.words], axis=1),
            "regions": padded.regions,
            "region_mask": padded.region_mask,
            "segment_ids": np.concatenate(
                [example.segment_ids[:, :8], np.full((2, 10), -1, "int32")], axis=1
            ),
        },
        unpad=lambda outputs: (outputs[0][:, :, :8], outputs[1][:, :, :8, :5]),
    )


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("activation, normalize", OPTIONS)
def test_equals_oracle(dtype, tolerance, activation, normalize):
    example = packed_example(WIDTH, dtype)
    layer = CrossAttention(activation, normalize=normalize, dtype=dtype)
    inputs = example.words, example.regions, example.region_mask, example.segment_ids
    layer(*inputs)
    randomize(layer)
    gamma = 0.0 if activation in WITHOUT_GAMMA else float(layer.gamma)
    attended, weights = layer(*inputs)
    assert_close(attended, np.asarray(weights) @ example.regions, tolerance)
    for g, captions in enumerate(example.captions):
        for t, words in enumerate(captions):
            rows = example.segment_ids[g] == t
            for b, regions in enumerate(example.images[g]):
                expected = cross_attention(words, regions, activation, gamma, normalize)
                row_weights = np.asarray(weights)[g, b, rows]
                assert not np.any(row_weights[:, len(regions) :])
                actual = np.asarray(attended)[g, b, rows], row_weights[:, : len(regions)]
                assert_close(actual, expected, tolerance)
                alone = layer(words[None], regions[None, None])
                assert_close(tuple(x[0, 0] for x in alone), expected, tolerance)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_unit_inputs_need_no_normalization(activation):
    example = packed_example(WIDTH, "float64", unit=True)
    arguments = (example.words, example.regions, example.region_mask)
    layers = [CrossAttention(activation, unit_inputs=unit, dtype="float64") for unit in (0, 1)]
    normalizing, trusting = (layer(*arguments) for layer in layers)
    # Padding holds vectors of any length; its words attend to something else.
    real = np.asarray(example.segment_ids >= 0)[:, None, :, None]
    for actual, expected in zip(trusting, normalizing, strict=True):
        assert_close(np.where(real, actual, 0), np.where(real, expected, 0), 1e-10)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("activation", [x for x in ACTIVATIONS if x != "dot_sigmoid"])
def test_alignment_is_the_cosine_with_the_attended_vector(dtype, tolerance, activation):
    example = packed_example(WIDTH, dtype, unit=True)
    layer = CrossAttention(activation, scale=6.0, unit_inputs=True, dtype=dtype)
    inputs = example.words, example.regions, example.region_mask, example.segment_ids
    layer(*inputs)
    found = layer.alignment(*map(tf.constant, inputs[:3]))
    # Words attend one by one, whatever the others of the caption take.
    alone = "softmax" if activation.endswith("softmax") else activation
    for g, captions in enumerate(example.captions):
        for t, words in enumerate(captions):
            for b, regions in enumerate(example.images[g]):
                attended, _ = cross_attention(words, regions, alone, 6.0)
                expected = np.array([cosine(*x) for x in zip(words, attended, strict=True)])
                assert_close(found[g, b][example.segment_ids[g] == t], expected, tolerance)


def test_gamma_starts_at_the_scale():
    layer = CrossAttention(scale=9.0)
    layer(np.ones((1, 2, 3), "float32"), np.ones((1, 1, 2, 3), "float32"))
    assert float(layer.gamma) == 9.0


def test_image_without_regions_is_attended_by_nothing():
    example = packed_example(WIDTH)
    for activation in ACTIVATIONS:
        layer = CrossAttention(activation)
        mask = np.zeros_like(example.region_mask)
        attended, weights = layer(example.words, example.regions, mask)
        assert not np.any(attended) and not np.any(weights)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_few_words_equal_many(dtype, tolerance, activation):
    """Five words are fewer than the seven regions, eight are more: lengths come another way."""
    example = packed_example(WIDTH, dtype, garbage=1.0)
    words, regions = tf.constant(example.words[:, :8]), tf.constant(example.regions)
    layer = CrossAttention(activation, dtype=dtype)
    layer.build(words.shape, regions.shape)

    def outputs_and_gradients(words):
        with tf.GradientTape() as tape:
            tape.watch(regions)
            attended, weights = (x[:, :, :5] for x in layer(words, regions, example.region_mask))
            loss = tf.reduce_sum(tf.sin(3 * attended)) + tf.reduce_sum(weights**2)
        return attended, weights, *tape.gradient(loss, [regions, layer.gamma])

    few, many = outputs_and_gradients(words[:, :5]), outputs_and_gradients(words)
    for actual, expected in zip(few, many, strict=True):
        assert_close(actual, expected, tolerance)
