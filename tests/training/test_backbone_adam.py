import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.training.backbone_adam import BACKBONE_SCOPE, BackboneAdam


def test_pretrained_weights_move_slowly_and_not_at_first():
    variables = []
    for scope in (BACKBONE_SCOPE, "head"):
        with keras.name_scope(scope):
            variables.append(keras.Variable(np.zeros(3, np.float32), name="kernel"))
    optimizer = BackboneAdam(0.1, frozen_steps=2, learning_rate=0.5, epsilon=1e-12)
    optimizer.build(variables)
    for step in range(3):
        optimizer.apply([tf.ones(3), tf.ones(3)], variables)
        moved = [float(variable[0]) for variable in variables]
        np.testing.assert_allclose(moved, [-0.05 if step == 2 else 0, -0.5 * (step + 1)], rtol=1e-4)


def test_config():
    optimizer = BackboneAdam(0.2, 7, learning_rate=0.5, use_ema=True)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, BackboneAdam) and again.use_ema
    assert (again.backbone_rate, again.frozen_steps) == (0.2, 7)


def test_impossible_arguments():
    with pytest.raises(ValueError, match="Received: backbone_rate=0"):
        BackboneAdam(0)
    with pytest.raises(ValueError, match="Received: frozen_steps=-1"):
        BackboneAdam(0.1, -1)
