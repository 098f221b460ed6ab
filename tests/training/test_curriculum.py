import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.training import (
    ContrastiveLoss,
    HardestNegativeTripletLoss,
    LossCurriculum,
    NegativeCurriculum,
)


def test_phases():
    curriculum = NegativeCurriculum(random_steps=100, growing_steps=200)
    shares = np.array([float(curriculum(step)) for step in range(400)])
    np.testing.assert_array_equal(shares[:100], 0)
    # Geometric: the same factor every step, from 0.02 to 1.
    np.testing.assert_allclose(shares[100:301], 0.02 ** (1 - np.arange(201) / 200), rtol=1e-5)
    np.testing.assert_array_equal(shares[300:], 1)
    assert np.all(np.diff(shares) >= 0)


@pytest.mark.parametrize(
    "random_steps, growing_steps, shares",
    [
        (0, 0, [1, 1, 1, 1]),
        (2, 0, [0, 0, 1, 1]),
        (0, 2, [0.02, 0.02**0.5, 1, 1]),
        (1, 1, [0, 0.02, 1, 1]),
    ],
)
def test_phases_without_length(random_steps, growing_steps, shares):
    curriculum = NegativeCurriculum(random_steps, growing_steps)
    np.testing.assert_allclose([curriculum(step) for step in range(4)], shares, rtol=1e-6)


def test_step_may_be_any_integer_tensor_in_a_graph():
    curriculum = NegativeCurriculum(10, 10)
    share = tf.function(curriculum)
    for dtype in (tf.int32, tf.int64):
        for step, expected in ((9, 0), (15, 0.02**0.5), (20, 1)):
            result = share(tf.constant(step, dtype))
            assert result.dtype == tf.float32 and result.shape == ()
            assert float(result) == pytest.approx(expected)
    assert share(tf.constant(tf.int64.max)) == 1
    assert share(keras.optimizers.SGD().iterations) == 0


@pytest.mark.parametrize(
    "loss, arguments, message",
    [
        (ContrastiveLoss, {"scale": 0.0}, "`scale`.*Received: scale=0.0$"),
        (ContrastiveLoss, {"on": "local"}, "`on`.*Received: on=local$"),
        (ContrastiveLoss, {"alignment_steps": -1}, "Received: alignment_steps=-1$"),
        (HardestNegativeTripletLoss, {"margin": -0.2}, "`margin`.*Received: margin=-0.2$"),
        (NegativeCurriculum, {"random_steps": -1}, "or more. Received: random_steps=-1$"),
        (NegativeCurriculum, {"growing_steps": -1}, "or more. Received: growing_steps=-1$"),
    ],
)
def test_impossible_values_are_refused(loss, arguments, message):
    with pytest.raises(ValueError, match=message):
        loss(**arguments)
    with pytest.raises(ValueError, match="`first_steps`.*Received: first_steps=-1$"):
        LossCurriculum(ContrastiveLoss(), HardestNegativeTripletLoss(), -1)
