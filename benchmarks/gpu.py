"""What docs/performance.md leaves open on a GPU, in at most ten minutes.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --tiny

Steps in three precisions with cuDNN's recurrence, exact scores, COCO 5K, memory, and whether the
numbers equal the CPU's. Every figure is measured in a process of its own. Without a GPU it measures
the CPU, and `--tiny` takes sizes at which that ends in a minute or two.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from benchmarks.performance import Part, Row, measure_parts, score_rows, step_rows

_LIMIT_S = 600
# Sums in another order, in float32: of scores near 1, and relative of the loss and the gradient.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Arguments:
    """What docs/performance.md leaves open on a GPU, in at most ten minutes."""

    tiny: bool = False
    """Sizes of the preset `sample`, few steps and captions."""

    numbers: bool = False
    """Print scores, loss and gradient of fixed weights alone, which the checks compare."""


def parts(tiny: bool) -> list[Part]:
    """Lists what is measured.

    Args:
        tiny: small sizes.

    Returns:
        The parts in order, the checks first.
    """
    step = ["benchmarks.training_step", "--steps", "2" if tiny else "30"]
    scores = ["benchmarks.streaming_evaluation"]
    if tiny:
        step += ["--preset", "sample", "--batch-size", "8"]
        scores += ["--preset", "sample", "--captions", "512"]
    flickr, coco = [*scores, "--images", "60" if tiny else "1000"], [*scores, "--images", "5000"]
    coco = flickr if tiny else coco
    check = ["benchmarks.gpu", "--numbers", *(["--tiny"] if tiny else [])]
    return [
        Part("numbers", check, lambda found: _equality_rows(found, check)),
        *(
            Part("training_step", [*step, "--precision", precision], step_rows)
            for precision in ("float32", "mixed_float16", "mixed_bfloat16")
        ),
        Part("exact_scores", flickr, score_rows),
        Part("exact_scores", [*flickr, "--precision", "mixed_bfloat16"], score_rows),
        Part("coco", [*coco, "--precision", "mixed_bfloat16"], score_rows),
    ]


def _equality_rows(found: Mapping[str, Any], command: Sequence[str]) -> list[Row]:
    """Computes the same on the CPU, and stops the benchmark where the numbers differ."""
    output = subprocess.run(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    ).stdout
    expected = json.loads(output.splitlines()[-1])
    differences = {
        "scores": np.abs(np.subtract(found["scores"], expected["scores"])).max(),
        "loss and gradient": max(
            abs(found[name] / expected[name] - 1) for name in ("loss", "gradient_norm")
        ),
    }
    for name, difference in differences.items():
        if not difference <= _TOLERANCE:
            raise ArithmeticError(
                f"On {found['device']} and on the CPU {name} differ by more than {_TOLERANCE}. "
                f"Received: {difference=}"
            )
    return [
        (f"{name} on {found['device']}, from the CPU's", f"{difference:.1e}", f"<= {_TOLERANCE}")
        for name, difference in differences.items()
    ]


def numbers(tiny: bool) -> dict[str, Any]:
    """Computes scores and a training step of fixed weights in float32, with what is visible.

    Args:
        tiny: small sizes.

    Returns:
        Name of the device, scores `[8, 8]` as lists, loss and norm of the gradient of a step.
    """
    import keras
    import tensorflow as tf

    from benchmarks.training_step import random_batch, random_words
    from hslm_tf.config import ModelConfig
    from hslm_tf.models.hslm import HSLM
    from hslm_tf.presets import preset
    from hslm_tf.training import HardestNegativeTripletLoss

    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    sizes = preset("sample" if tiny else "flickr30k").model
    config = ModelConfig(
        region_dim=sizes.region_dim,
        joint_dim=sizes.joint_dim,
        word_dim=sizes.word_dim,
        similarity_dim=sizes.similarity_dim,
        word_dropout=0.0,
    )
    keras.utils.set_random_seed(0)
    model = HSLM(config, random_words(), dtype="float32")
    model.compile(keras.optimizers.Adam(1e-3), HardestNegativeTripletLoss(0.2))
    batch = random_batch(config, 8)
    images = model.encode_image(batch["region_features"], batch["region_mask"])
    scores = model.score_encoded(images, model.encode_tokens(batch["token_ids"])).numpy()
    model.optimizer.build(model.trainable_variables)
    logs = model.train_step({key: tf.constant(value) for key, value in batch.items()})
    return {
        "device": gpus[0].name if gpus else "the CPU",
        "scores": scores.tolist(),
        "loss": float(logs["loss"]),
        "gradient_norm": float(logs["gradient_norm"]),
    }


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.gpu", args=args)
    if arguments.numbers:
        print(json.dumps(numbers(arguments.tiny)))
    else:
        measure_parts(parts(arguments.tiny), "On a GPU", _LIMIT_S)


if __name__ == "__main__":
    main()
