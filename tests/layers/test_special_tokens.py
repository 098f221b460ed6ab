import keras
import numpy as np

from hslm_tf.layers import SpecialTokens


def test_tokens_stand_around_every_caption():
    layer = SpecialTokens(101, 102)
    ids, real = layer(np.array([[7, 8, 9], [7, 0, 0], [0, 0, 0]], np.int32))
    np.testing.assert_array_equal(
        ids, [[101, 7, 8, 9, 102], [101, 7, 102, 0, 0], [101, 102, 0, 0, 0]]
    )
    np.testing.assert_array_equal(np.sum(real, axis=1), [5, 3, 2])
    np.testing.assert_array_equal(np.asarray(ids) != 0, real)


def test_config_and_symbolic_shapes():
    layer = SpecialTokens.from_config(SpecialTokens(5, 6, name="special").get_config())
    assert (layer.start_id, layer.end_id, layer.name) == (5, 6, "special")
    ids, real = layer(keras.Input((None,), dtype="int32"))
    assert (ids.shape, ids.dtype, real.shape, real.dtype) == (
        (None, None),
        "int32",
        (None, None),
        "bool",
    )
