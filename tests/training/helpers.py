"""Helpers of the tests of losses: encodings, gradients and their comparison."""

import numpy as np
import tensorflow as tf

from hslm_tf.models.hslm import HSLM
from hslm_tf.training import BatchLosses, HardestNegativeTripletLoss, NegativeCurriculum
from tests.tiny_model import losses_at

# Every loss compares scores: it does not see what is added to all of them.
WITHOUT_GRADIENT = "similarity_fusion/score/bias"


def curriculum_loss(margin: float = 0.02) -> HardestNegativeTripletLoss:
    """A curriculum that is over within a few steps, and a margin that some pairs satisfy."""
    return HardestNegativeTripletLoss(margin, NegativeCurriculum(100, 100), seed=3)


def encoded(model: HSLM, batch: dict, training: bool = False) -> tuple[dict, dict]:
    """The images and the captions of a batch."""
    images = {key: batch[key] for key in ("region_features", "region_mask")}
    texts = {"token_ids": batch["token_ids"]}
    return model.image_encoder(images, training=training), model.text_encoder(
        texts, training=training
    )


def dense(gradients: list) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def loss_and_gradients(
    model: HSLM, batch: dict, step: int = 0, training: bool = False
) -> tuple[BatchLosses, list[tf.Tensor]]:
    """The loss of a step, and the gradient of every variable, zero where there is none."""
    with tf.GradientTape() as tape:
        losses = losses_at(model, batch, step, training)
    variables = [variable.value for variable in model.trainable_variables]
    zero = tf.UnconnectedGradients.ZERO
    return losses, dense(tape.gradient(losses.loss, variables, unconnected_gradients=zero))


def assert_equal_gradients(model: HSLM, actual: list, expected: list, tolerance: float) -> None:
    """Every variable has a gradient, but for one, and it is the expected one."""
    largest = max(np.max(np.abs(gradient)) for gradient in expected)
    for variable, a, b in zip(model.trainable_variables, actual, expected, strict=True):
        if variable.path == WITHOUT_GRADIENT:
            assert np.max(np.abs(a)) <= tolerance * largest
            continue
        # Far above what rounding leaves of a gradient that is zero.
        assert np.max(np.abs(b)) > 1e-7 * largest, variable.path
        # A gradient that is far smaller than the largest one carries its rounding.
        size = max(np.max(np.abs(b)), 1e-2 * largest)
        assert np.max(np.abs(a - b)) <= tolerance * size, variable.path
