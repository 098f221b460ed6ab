"""Trains the same model on one device and on two; run in a process of its own, see `main`."""

import contextlib
import dataclasses
import gc
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.data.pipeline import training_batches
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.training import (
    ContrastiveLoss,
    HardestNegativeTripletLoss,
    LossCurriculum,
    NegativeCurriculum,
)
from tests.tiny_model import SIZES, WORDS, randomize_model
from tests.tiny_split import tiny_split

LOSSES = {
    "hardest": lambda: HardestNegativeTripletLoss(0.2),
    "random, then hardest": lambda: HardestNegativeTripletLoss(0.2, NegativeCurriculum(1, 2)),
    "contrastive": lambda: ContrastiveLoss(10.0),
    "contrastive on global": lambda: ContrastiveLoss(10.0, on="global"),
    "curriculum": lambda: LossCurriculum(ContrastiveLoss(10.0), HardestNegativeTripletLoss(0.2), 1),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss, its optimizer and the number of pairs."""

    loss: str
    dtype: str = "float32"
    pairs: int = 12
    steps: int = 1
    adam: bool = False
    light: bool = False


def optimizer(case: Case) -> keras.Optimizer:
    """SGD at rate 1, whose step is the gradient; or Adam with everything that a run may have."""
    if not case.adam:
        return keras.optimizers.SGD(1.0)
    return keras.optimizers.Adam(
        1e-2, weight_decay=0.01, global_clipnorm=0.05, use_ema=True, ema_momentum=0.9
    )


def new_model(case: Case) -> HSLM:
    """The model, the same in every call."""
    sizes = {**SIZES, "word_dropout": 0.0}
    if "global" in case.loss:
        sizes["image_global"] = "regions"
    if case.light:
        sizes |= ABLATION_PARTS[1]
    keras.utils.set_random_seed(3)
    model = HSLM(ModelConfig(**sizes), WORDS, dtype=case.dtype)
    randomize_model(model)
    model.compile(optimizer(case), LOSSES[case.loss]())
    return model


def fitted(case: Case, strategy: tf.distribute.Strategy | None = None) -> dict[str, np.ndarray]:
    """Weights, state of the optimizer and what the last step reported; an epoch is a step."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = new_model(case)
    split, pairs = tiny_split(case.pairs), slice(case.pairs)
    dataset = dataclasses.replace(
        split, captions=split.captions[pairs], caption_to_image=split.caption_to_image[pairs]
    )
    tokens = model.tokenizer.tokenize_all(dataset.captions)
    batches = training_batches(dataset, tokens, case.pairs)
    history = model.fit(batches, epochs=case.steps, shuffle=False, verbose=0).history
    return outcome(model, {name: values[-1] for name, values in history.items()})


def outcome(model: HSLM, results: dict[str, float]) -> dict[str, np.ndarray]:
    """Weights, state of the optimizer and what was reported."""
    variables = [*model.trainable_variables, *model.optimizer.variables]
    found = {str(i): np.asarray(v.value, "float64") for i, v in enumerate(variables)}
    return found | {name: np.asarray(x, "float64") for name, x in results.items()}


def differences(case: Case, strategy: tf.distribute.Strategy) -> dict[str, float]:
    """How far one device and two are apart.

    `moved` is the largest change that training made, `largest` the largest difference of weights
    (with SGD: of gradients), optimizer and report, `relative` the norm of the difference by that of
    the change, `rounding` the same between one device and one in float32.
    """
    one, two = fitted(case), fitted(case, strategy)
    exact = one if case.dtype == "float32" else fitted(dataclasses.replace(case, dtype="float32"))
    assert one.keys() == two.keys()
    start = outcome(new_model(case), {})
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
