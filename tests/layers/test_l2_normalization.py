import numpy as np

from hslm_tf.layers import L2Normalization
from tests.layer_test import assert_close, pad_batch
from tests.oracles.numerics import l2_normalize_rows


def test_rows_have_unit_length_and_padding_is_zero():
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=(count, 6)).astype("float32") for count in (4, 2)]
    batch, mask = pad_batch(matrices, length=7)
    normalized = np.asarray(L2Normalization()(batch, mask=mask))
    for matrix, output in zip(matrices, normalized, strict=True):
        assert_close(output[: len(matrix)], l2_normalize_rows(matrix), 1e-6)
        assert not np.any(output[len(matrix) :])


def test_mixed_precision_keeps_small_rows():
    rows = np.array([[3e-4, 4e-4], [300.0, 400.0]], "float16")
    normalized = L2Normalization(dtype="mixed_float16")(rows)
    assert normalized.dtype == "float16"
    np.testing.assert_allclose(normalized, [[0.6, 0.8], [0.6, 0.8]], rtol=2e-3)
