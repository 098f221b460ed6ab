import numpy as np
import pytest

from hslm_tf.layers import SelfAttention
from tests.layer_test import affine, assert_close, pad_batch, randomize, run_layer_test
from tests.oracles.self_attention import self_attention

WIDTH = 8


def draw_captions(dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=(length, WIDTH)).astype(dtype) for length in (5, 1, 3)]


@pytest.mark.parametrize("residual", [False, True])
def test_layer(residual):
    words, mask = pad_batch(draw_captions(), garbage=1.0)
    padded_words, padded_mask = pad_batch(draw_captions(), length=10)
    run_layer_test(
        SelfAttention,
        init_kwargs={"residual": residual},
        inputs={"words": words, "mask": mask},
        expected_output_shape=(3, 5, WIDTH),
        expected_num_weights=3,
        padded_inputs={"words": padded_words, "mask": padded_mask},
        unpad=lambda outputs: outputs[:, :5],
    )


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("residual", [False, True])
def test_equals_oracle(dtype, tolerance, residual):
    captions = draw_captions(dtype)
    words, mask = pad_batch(captions)
    layer = SelfAttention(residual, dtype=dtype)
    layer(words, mask=mask)
    randomize(layer)
    enhanced = np.asarray(layer(words, mask=mask))
    for caption, output in zip(captions, enhanced, strict=True):
        expected = self_attention(
            caption, affine(layer.key), affine(layer.query), affine(layer.value), residual
        )
        assert_close(output[: len(caption)], expected, tolerance)
        assert not np.any(output[len(caption) :])
        assert_close(layer(caption[None])[0], expected, tolerance)
