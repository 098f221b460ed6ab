"""Trains the same model on one device and on two; run in a process of its own, see `main`."""

import dataclasses
import gc
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.training import (
    ContrastiveLoss,
    HardestNegativeTripletLoss,
    LossCurriculum,
    NegativeCurriculum,
)
from hslm_tf.training.staged_step import staged_step
from tests.tiny_model import SIZES, WORDS, random_batch, randomize_model

LOSSES = {
    "hardest": lambda: HardestNegativeTripletLoss(0.2),
    "random, then hardest": lambda: HardestNegativeTripletLoss(0.2, NegativeCurriculum(1, 2)),
    "contrastive": lambda: ContrastiveLoss(10.0),
    "contrastive on global": lambda: ContrastiveLoss(10.0, on="global"),
    "curriculum": lambda: LossCurriculum(ContrastiveLoss(10.0), HardestNegativeTripletLoss(0.2), 1),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained, and on how many pairs."""

    loss: str
    dtype: str = "float32"
    pairs: int = 12
    steps: int = 1
    adam: bool = False
    light: bool = False


def optimizer(case: Case, replicas: int) -> keras.Optimizer:
    """SGD at rate 1, whose step is the gradient; or Adam with everything that a run may have."""
    if not case.adam:
        return keras.optimizers.SGD(1.0)
    return keras.optimizers.Adam(
        1e-2, weight_decay=0.01, global_clipnorm=0.05 / replicas, use_ema=True, ema_momentum=0.9
    )


def new_model(case: Case, replicas: int) -> HSLM:
    """The model, the same in every call."""
    sizes = {**SIZES, "word_dropout": 0.0}
    if "global" in case.loss:
        sizes["image_global"] = "regions"
    if case.light:
        sizes |= ABLATION_PARTS[1]
    keras.utils.set_random_seed(3)
    model = HSLM(ModelConfig(**sizes), WORDS, dtype=case.dtype)
    randomize_model(model)
    model.compile(optimizer(case, replicas), LOSSES[case.loss]())
    return model


def batches(case: Case) -> list[dict[str, tf.Tensor]]:
    """Some images come twice."""
    images = [i % (case.pairs - 2) for i in range(case.pairs)]
    return [random_batch(images, seed) for seed in range(case.steps)]


def outcome(model: HSLM, results: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    """Weights, state of the optimizer and what the step reported."""
    variables = [*model.trainable_variables, *model.optimizer.variables]
    found = {str(i): np.asarray(v.value, "float64") for i, v in enumerate(variables)}
    return found | {name: np.asarray(x, "float64") for name, x in results.items()}


def on_one(case: Case) -> dict[str, np.ndarray]:
    """Trains on one device."""
    model = new_model(case, 1)
    step = tf.function(model.train_step)
    for batch in batches(case):
        results = step(batch)
    return outcome(model, results)


def on_two(case: Case, strategy: tf.distribute.Strategy) -> dict[str, np.ndarray]:
    """Trains on all replicas of a strategy, the first ones with the larger shares."""
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        model = new_model(case, replicas)
    step = staged_step(model, strategy)

    made = [
        {key: np.array_split(value, replicas)[share] for key, value in batch.items()}
        for batch in batches(case)
        for share in range(replicas)
    ]
    signature = {
        key: tf.TensorSpec([None, *value.shape[1:]], value.dtype) for key, value in made[0].items()
    }
    iterator = iter(
        strategy.distribute_datasets_from_function(
            lambda _: tf.data.Dataset.from_generator(lambda: made, output_signature=signature)
        )
    )
    for _ in range(case.steps):
        results = step(iterator)
    return outcome(model, results)


def differences(case: Case, strategy: tf.distribute.Strategy) -> dict[str, float]:
    """How far one device and two are apart.

    `moved` is the largest change that training made, `largest` the largest difference of weights
    (with SGD: of gradients), optimizer and report, `relative` the norm of the difference by that of
    the change, `rounding` the same between one device and one in float32.
    """
    one, two = on_one(case), on_two(case, strategy)
    exact = one if case.dtype == "float32" else on_one(dataclasses.replace(case, dtype="float32"))
    assert one.keys() == two.keys()
    start = outcome(new_model(case, 1), {})
    # Loss scaling has variables of its own.
    trained = [name for name in start if name in exact and name.isdecimal()]
    gradient = np.concatenate([(one[name] - start[name]).ravel() for name in trained])

    def relative(other: dict[str, np.ndarray]) -> float:
        difference = np.concatenate([(one[name] - other[name]).ravel() for name in trained])
        return float(np.linalg.norm(difference) / np.linalg.norm(gradient))

    return {
        "moved": float(np.abs(gradient).max()),
        "largest": float(max(np.abs(one[name] - two[name]).max() for name in one)),
        "relative": relative(two),
        "rounding": relative(exact),
        "loss": float(abs(one["loss"] - two["loss"])),
    }


def main() -> None:
    """Prints the differences of the cases on the command line, JSON lists of `Case`."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    cases = [Case(**case) for case in json.loads(sys.argv[1])]
    for case in cases:
        keras.backend.clear_session()
        gc.collect()
        print("FOUND", json.dumps(differences(case, strategy)), flush=True)


if __name__ == "__main__":
    main()
