import numpy as np

from hslm_tf.layers import L2Normalization
from tests.layer_test import assert_close, pad_batch, run_layer_test
from tests.oracles.numerics import l2_normalize_rows


def test_layer():
    rng = np.random.default_rng(0)
    vectors, mask = pad_batch([rng.normal(size=(4, 6)).astype("float32") for _ in range(3)])
    padded, padded_mask = pad_batch(list(vectors), length=7)
    run_layer_test(
        L2Normalization,
        init_kwargs={},
        inputs={"vectors": vectors, "mask": mask},
        expected_output_shape=(3, 4, 6),
        expected_num_weights=0,
        padded_inputs={"vectors": padded, "mask": padded_mask},
        unpad=lambda outputs: outputs[:, :4],
    )


def test_rows_have_unit_length_and_padding_is_zero():
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=(count, 6)).astype("float32") for count in (4, 2)]
    batch, mask = pad_batch(matrices, length=7)
    normalized = np.asarray(L2Normalization()(batch, mask=mask))
    for matrix, output in zip(matrices, normalized, strict=True):
        assert_close(output[: len(matrix)], l2_normalize_rows(matrix), 1e-6)
        assert not np.any(output[len(matrix) :])
