"""Two devices learn what one device learns from the same batch."""

import dataclasses
import json
import subprocess
import sys

import pytest
import tensorflow as tf

from tests.training.on_two_devices import Case, new_model

# Uneven shares of the matrix of scores.
QUICK = {"contrastive": Case("contrastive", pairs=7, light=True)}
MORE = {
    # Clipping, weight decay and averaged weights, too.
    "everything, with the whole model": Case("curriculum", pairs=7, steps=4, adam=True),
    "gradient": Case("hardest"),
    "random negatives": Case("random, then hardest", steps=3, adam=True),
    "contrastive": Case("contrastive"),
    "contrastive on global vectors": Case("contrastive on global"),
    "bfloat16": Case("hardest", "mixed_bfloat16"),
    "float16": Case("hardest", "mixed_float16"),
}


def check(cases: dict[str, Case]) -> None:
    """Runs the cases on logical devices, which must be made before TensorFlow is used."""
    asked = json.dumps([dataclasses.asdict(case) for case in cases.values()])
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.on_two_devices", asked],
        capture_output=True,
        text=True,
        timeout=900,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert len(lines) == len(cases), done.stderr[-3000:]
    for (name, case), line in zip(cases.items(), lines, strict=True):
        found = json.loads(line.removeprefix("FOUND "))
        print(f"{name}: {found}")
        assert found["moved"] > 0.01, name
        if case.dtype == "float32":
            # Adam divides by the size of a gradient, and so enlarges the rounding of a small one.
            assert found["largest"] < (1e-4 if case.adam else 1e-5), name
            assert found["relative"] < 1e-5, name
        else:
            # A product over half of the batch is rounded to 8 or 11 bits, like one over all of it.
            assert (
                found["relative"] < {"mixed_bfloat16": 2**-7, "mixed_float16": 2**-10}[case.dtype]
            )
        assert found["loss"] < (1e-5 if case.dtype == "float32" else 1e-3), name


def test_two_devices_learn_what_one_learns():
    check(QUICK)


@pytest.mark.slow
def test_two_devices_learn_what_one_learns_by_every_loss():
    check(MORE)


def test_what_fails_on_several_devices_is_refused_by_name():
    model = new_model(Case("hardest"))
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        with pytest.raises(ValueError, match="Received: steps_per_execution=2"):
            model.compile("sgd", steps_per_execution=2)
        with pytest.raises(ValueError, match="Received: jit_compile=True"):
            model.compile("sgd", jit_compile=True)
    server = tf.distribute.experimental.CentralStorageStrategy(["CPU:0"], "CPU:0")
    with server.scope(), pytest.raises(ValueError, match="Received: strategy=CentralStorage"):
        model.compile("sgd")
