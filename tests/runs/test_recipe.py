import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import preset
from hslm_tf.runs.recipe import loss_of, losses_by_epoch, new_model, optimizer_of, schedule_of
from hslm_tf.training import ContrastiveLoss, HardestNegativeTripletLoss, LossCurriculum
from tests.tiny_model import SIZES, WORDS, randomize_model

STEPS = 10


def test_step_decay_of_the_paper():
    for name, drop in (("paper/flickr30k", 20), ("paper/coco", 15)):
        schedule = schedule_of(preset(name).training, STEPS)
        rates = [float(schedule(epoch * STEPS)) for epoch in range(40)]
        np.testing.assert_allclose(rates[:drop], 2e-4, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(rates[drop : 2 * drop], 2e-5, rtol=1e-5)
        np.testing.assert_allclose(rates[2 * drop :], 2e-6, rtol=1e-5)
        # Not before the last step of an epoch is done.
        assert float(schedule(drop * STEPS - 1)) == pytest.approx(2e-4)


def test_cosine_warms_up_and_falls_to_zero():
    shape = {"schedule": "cosine", "epochs": 5, "warmup_steps": 10, "decay_epochs": 1}
    schedule = schedule_of(TrainingConfig(**shape, learning_rate=1e-3), STEPS)
    rates = [float(schedule(step)) for step in (0, 5, 10, 30, 50)]
    np.testing.assert_allclose(rates, [0, 5e-4, 1e-3, 5e-4, 0], atol=1e-9)


def test_a_global_policy_that_the_run_does_not_follow_is_named(caplog):
    config = RunConfig(model=ModelConfig(**SIZES))
    captions = ["a dog"] * 4
    for policy, told in (("float32", False), ("mixed_bfloat16", True)):
        keras.config.set_dtype_policy(policy)
        caplog.clear()
        assert new_model(config, captions).policy_name == "float32"
        message = f"global policy is {policy}; the run has a precision of its own, float32"
        assert (message in caplog.text) == told


def test_a_vocabulary_of_nothing_is_refused():
    config = RunConfig(data=DataConfig(min_count=3))
    message = "None of the 2 different words .* which has 0 words: lower --min-count"
    with pytest.raises(ValueError, match=message):
        new_model(config, ["狗在跑", "猫在睡"])


def test_losses_by_step():
    epochs = {"contrastive_epochs": 2, "random_epochs": 0, "growing_epochs": 1}
    training = TrainingConfig(**epochs, contrastive_scale=7.0, margin=0.3, seed=5)
    loss = loss_of(training, ModelConfig(), STEPS)
    assert isinstance(loss, LossCurriculum) and loss.first_steps == 20
    assert isinstance(loss.first, ContrastiveLoss) and loss.first.scale == 7.0
    assert isinstance(loss.then, HardestNegativeTripletLoss)
    assert (loss.then.margin, loss.then.seed) == (0.3, 5)
    assert loss.then.curriculum.growing_steps == 10
    plain = TrainingConfig(**dict.fromkeys(epochs, 0))
    plain = loss_of(plain, ModelConfig(), STEPS)
    assert isinstance(plain, HardestNegativeTripletLoss) and plain.curriculum is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"contrastive_epochs": 0}, {}),
        ({"contrastive_epochs": 40}, {}),
        ({"contrastive_epochs": 2}, {3: "triplet, hardest negatives"}),
        (
            {"contrastive_epochs": 6, "contrastive_on": "parts", "random_epochs": 1},
            {
                5: "contrastive, words a tenth",
                7: "triplet, random negatives",
                8: "triplet, hardest negatives",
            },
        ),
    ],
)
def test_epochs_that_begin_with_another_loss(fields, expected):
    training = TrainingConfig(**{"epochs": 40, "random_epochs": 0, **fields})
    config = RunConfig(model=ModelConfig(image_global="regions"), training=training)
    assert losses_by_epoch(config) == expected


@pytest.mark.parametrize(
    "parts, on",
    [
        ({}, "parts"),
        ({"local_alignment": False}, "global"),
        ({"global_alignment": False}, "alignment"),
    ],
)
def test_a_loss_on_parts_takes_those_that_there_are(parts, on):
    training = TrainingConfig(contrastive_epochs=2, contrastive_on="parts")
    loss = loss_of(training, ModelConfig(**parts), STEPS)
    assert (loss.first.on, loss.first.alignment_steps) == (on, 4 * STEPS)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_weight_decay_spares_biases_and_scales(policy, tmp_path):
    """Without a gradient decay alone moves the weights."""
    rate, decay = 1e-2, 0.5
    training = TrainingConfig(learning_rate=rate, weight_decay=decay, schedule="step")
    model = HSLM(ModelConfig(**SIZES), WORDS, dtype=policy)
    model.compile(
        optimizer_of(training, ModelConfig(), STEPS), loss_of(training, ModelConfig(), STEPS)
    )
    randomize_model(model)
    model.save(tmp_path / "model.keras")
    for found in (model, keras.saving.load_model(tmp_path / "model.keras")):
        variables = found.trainable_variables
        before = [np.asarray(variable) for variable in variables]
        optimizer = getattr(found.optimizer, "inner_optimizer", found.optimizer)
        optimizer.apply([tf.zeros(variable.shape) for variable in variables], variables)
        spared = set()
        for variable, value in zip(variables, before, strict=True):
            name = variable.path.rsplit("/", 1)[-1]
            if name in ("bias", "gamma"):
                spared.add(name)
            shrunk = value if name in spared else value * (1 - rate * decay)
            tolerance = 0 if name in spared else 1e-5
            np.testing.assert_allclose(variable, shrunk, tolerance, err_msg=variable.path)
        assert spared == {"bias", "gamma"}
