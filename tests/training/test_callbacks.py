import logging
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.training import HardestNegativeTripletLoss
from hslm_tf.training.callbacks import (
    CollapseWarning,
    SeedOfEpoch,
    StopOnDivergence,
    Throughput,
    Validation,
)
from tests.tiny_model import SIZES, WORDS, random_batch

COLLAPSED = {"loss": 0.4003, "active_hinges": 1.0, "positive_score": 0.5, "negative_score": 0.5003}


@pytest.mark.parametrize(
    "changed",
    [
        {"loss": 0.38},
        {"loss": 0.42},
        {"active_hinges": 0.9},
        {"positive_score": 0.51},
        {"negative_score": 0.49},
    ],
)
def test_with_one_healthy_number_there_is_no_warning(changed, caplog):
    callback = CollapseWarning(margin=0.2)
    callback.on_epoch_end(0, {**COLLAPSED, **changed})
    assert not caplog.records


def test_collapse_is_said_in_the_log(caplog):
    callback = CollapseWarning(margin=0.2)
    with caplog.at_level(logging.WARNING, "hslm_tf"):
        callback.on_epoch_end(4, COLLAPSED)
    assert "Epoch 5: training has collapsed" in caplog.text
    assert "0.4003, twice the margin is 0.4000, 100%" in caplog.text
    assert CollapseWarning(margin=0.1).collapsed(COLLAPSED) is False


def test_equal_scores_are_a_collapse_and_varied_ones_are_not(caplog):
    sizes = {**SIZES, "cross_attention": False, "local_alignment": False, "mgcn": False}
    model = HSLM(ModelConfig(**sizes), WORDS)
    # With a learning rate of 0 the scores stay what they are.
    model.compile(keras.optimizers.SGD(0.0), HardestNegativeTripletLoss(0.2))
    batches = tf.data.Dataset.from_tensors(random_batch(np.arange(8))).repeat(2)
    kernel = model.matcher.get_layer("similarity_fusion").score.kernel

    def warnings_with(value):
        caplog.clear()
        kernel.assign(value * keras.ops.ones_like(kernel))
        model.fit(batches, verbose=0, callbacks=[StopOnDivergence(), CollapseWarning(margin=0.2)])
        return [record.message for record in caplog.records if "collapsed" in record.message]

    assert len(warnings_with(0.0)) == 1
    assert warnings_with(3.0) == []
    with pytest.raises(FloatingPointError, match="epoch 1, step 1"):
        warnings_with(float("nan"))


def test_throughput_and_validation_add_to_the_logs():
    throughput = Throughput(pairs_per_epoch=100, steps_per_epoch=4)
    for first, pairs in ((0, 100), (3, 25)):
        throughput.on_epoch_begin(0)
        for step in range(first, 4):
            throughput.on_train_batch_end(step)
        time.sleep(0.05)
        logs = {"loss": 0.3}
        throughput.on_epoch_end(0, logs)
        assert pairs / 10 < logs["pairs_per_second"] <= pairs / 0.05
    throughput.on_epoch_begin(1)
    throughput.on_epoch_end(1, logs)
    assert np.isnan(logs["pairs_per_second"])

    validation = Validation(lambda model: {"rsum": 2.0 * model})
    validation.set_model(21)
    validation.on_epoch_end(0, logs)
    assert logs["val_rsum"] == 42.0
    assert logs["loss"] == 0.3


def test_dropout_of_an_epoch_depends_on_seed_and_epoch_alone():
    def drawn(seed, epoch, before=0):
        inputs = keras.Input((64,))
        hidden = keras.layers.Dropout(0.5)(inputs)
        model = keras.Model(inputs, [hidden, keras.layers.Dropout(0.5)(inputs)])
        ones = np.ones((1, 64), "float32")
        for _ in range(before):
            model(ones, training=True)
        callback = SeedOfEpoch(seed)
        callback.set_model(model)
        callback.on_epoch_begin(epoch)
        return [output.numpy().tobytes() for _ in range(2) for output in model(ones, training=True)]

    masks = drawn(7, 3)
    assert len(set(masks)) == 4
    assert drawn(7, 3, before=5) == masks
    assert not set(masks) & set(drawn(7, 4))
    assert not set(masks) & set(drawn(8, 3))


def test_validation_every_third_epoch_and_the_last():
    measured = []
    validation = Validation(lambda model: measured.append(1) or {"rsum": 7.0}, 3, ["rsum"])
    validation.set_model(keras.Model())
    validation.set_params({"epochs": 5})
    found = []
    for epoch in range(5):
        logs = {}
        validation.on_epoch_end(epoch, logs)
        found.append(logs["val_rsum"])
    np.testing.assert_array_equal(found, [np.nan, np.nan, 7, np.nan, 7])
    assert len(measured) == 2
