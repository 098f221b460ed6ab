import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.layers import AttentionPooling, CrossAttention
from tests.layer_test import affine, assert_close, pad_batch, randomize, run_layer_test
from tests.oracles.attention_pooling import attention_pooling
from tests.oracles.numerics import Affine
from tests.packed_example import packed_example

WIDTH = 8
ROWS_OF_FIRST_BLOCK = (slice(0, 3), slice(3, 4), slice(4, 8))


def draw_captions(dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(6)
    return [rng.normal(size=(length, WIDTH)).astype(dtype) for length in (5, 1, 3)]


def pooling_layer(dtype: str = "float32") -> AttentionPooling:
    layer = AttentionPooling(dtype=dtype)
    layer.build((None, None, WIDTH))
    randomize(layer, seed=2)
    return layer


def test_layer():
    vectors, mask = pad_batch(draw_captions(), garbage=1.0)
    padded_vectors, padded_mask = pad_batch(draw_captions(), length=10)
    run_layer_test(
        AttentionPooling,
        init_kwargs={},
        inputs={"vectors": vectors, "mask": mask},
        expected_output_shape=(3, WIDTH),
        expected_num_weights=3,
        padded_inputs={"vectors": padded_vectors, "mask": padded_mask},
    )


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
def test_equals_oracle(dtype, tolerance):
    captions = draw_captions(dtype)
    vectors, mask = pad_batch(captions)
    layer = pooling_layer(dtype)
    pooled = layer(np.stack([vectors, vectors]), mask=np.stack([mask, mask]))
    assert pooled.shape == (2, 3, WIDTH)
    for row, caption in enumerate(captions):
        expected = attention_pooling(caption, affine(layer.query), affine(layer.key))
        assert_close(pooled[0, row], expected, tolerance)
        assert_close(pooled[1, row], expected, tolerance)
        assert_close(layer(caption), expected, tolerance)
        assert_close(np.linalg.norm(pooled[0, row]), 1.0, tolerance)


def test_a_bias_of_the_keys_would_cancel():
    (caption, *_), rng = draw_captions("float64"), np.random.default_rng(0)
    query = Affine(rng.normal(size=(WIDTH, WIDTH)), rng.normal(size=WIDTH))
    kernel = rng.normal(size=(WIDTH, WIDTH))
    layer = AttentionPooling(dtype="float64")
    layer.build(caption.shape)
    layer.set_weights([query.kernel, query.bias, kernel])
    with_bias = attention_pooling(caption, query, Affine(kernel, rng.normal(size=WIDTH)))
    assert_close(layer(caption), with_bias, 1e-10)


def test_layer_with_weights():
    """As in `test_layer`, for attended vectors that are given by their weights."""
    example, padded = packed_example(WIDTH, garbage=1.0), packed_example(WIDTH)
    cross_attention = CrossAttention()
    _, weights = cross_attention(
        example.words[:, :8], example.regions[:, :, :5], example.region_mask[:, :, :5]
    )
    _, padded_weights = cross_attention(padded.words, padded.regions, padded.region_mask)
    # Both blocks full here: what stands in the place of a missing caption is of no account.
    index = np.array([[0, 0, 0, 1, 2, 2, 2, 2], [0, 0, 1, 1, 1, 2, 2, 2]], "int32")
    run_layer_test(
        AttentionPooling,
        init_kwargs={},
        inputs={
            "vectors": example.regions[:, :, :5],
            "weights": np.asarray(weights),
            "segment_ids": index,
        },
        expected_output_shape=(2, 4, 3, WIDTH),
        expected_num_weights=3,
        padded_inputs={
            "vectors": padded.regions,
            "weights": np.concatenate([_widen(weights), np.asarray(padded_weights)], axis=2),
            "segment_ids": np.concatenate([index, np.full((2, 10), -1, "int32")], axis=1),
        },
    )


def _widen(weights: tf.Tensor) -> np.ndarray:
    return np.pad(weights, ((0, 0), (0, 0), (0, 0), (0, 2)))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "dot_sigmoid"])
@pytest.mark.parametrize("normalize", [True, False])
def test_weights_equal_materialized_vectors(dtype, tolerance, activation, normalize):
    example = packed_example(WIDTH, dtype)
    cross_attention = CrossAttention(activation, normalize=normalize, dtype=dtype)
    attended, weights = cross_attention(example.words, example.regions, example.region_mask)
    layer = pooling_layer(dtype)
    pooled = layer(example.regions, weights=weights, segment_ids=example.segment_ids)
    assert pooled.shape == (2, 4, 3, WIDTH)
    assert np.all(np.isfinite(pooled))
    for g, captions in enumerate(example.captions):
        for t in range(len(captions)):
            rows = example.segment_ids[g] == t
            vectors = np.asarray(attended)[g][:, rows]
            assert_close(pooled[g, :, t], layer(vectors), tolerance)
            for b, image_vectors in enumerate(vectors):
                expected = attention_pooling(image_vectors, affine(layer.query), affine(layer.key))
                assert_close(pooled[g, b, t], expected, tolerance)


def test_weights_give_the_gradients_of_materialized_vectors():
    example = packed_example(WIDTH, "float64", garbage=1.0)
    words, index = example.words[:1, :8], example.segment_ids[:1, :8]
    regions, region_mask = tf.constant(example.regions[:1]), example.region_mask[:1]
    cross_attention, layer = CrossAttention(dtype="float64"), pooling_layer("float64")
    cross_attention(words, regions, region_mask)
    variables = [v.value for v in layer.trainable_variables + cross_attention.trainable_variables]
    probe = np.random.default_rng(0).normal(size=(1, 4, 3, WIDTH))

    def gradients(pool):
        with tf.GradientTape() as tape:
            tape.watch(regions)
            attended, weights = cross_attention(words, regions, region_mask)
            loss = tf.reduce_sum(pool(attended, weights) * probe)
        return tape.gradient(loss, [regions, *variables])

    def from_vectors(attended, _):
        return tf.stack([layer(attended[:, :, rows]) for rows in ROWS_OF_FIRST_BLOCK], axis=2)

    def from_weights(_, weights):
        return layer(regions, weights=weights, segment_ids=index)

    assert_close(gradients(from_weights), gradients(from_vectors), 1e-10)
