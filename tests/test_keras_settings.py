"""Settings of Keras that are meant for other work: in the environment and in keras.json."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).resolve().parents[1]
USED = """
import sys
from pathlib import Path
import hslm_tf
from hslm_tf.images.backbones import load_backbone

run, data, weights = sys.argv[1:]
report = hslm_tf.evaluate(hslm_tf.load_model(run), hslm_tf.load_dataset(data, "test"))
print(report.i2t, report.t2i, load_backbone("mobilenetv2", 64, Path(weights)).fingerprint)
"""


def python(code: str, *args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


COMPUTED = """
import hslm_tf
import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

print(_pywrap_util_port.IsMklEnabled())
kept = tf.zeros([1000])
print(tf.config.experimental.get_memory_info("CPU:0")["current"])
"""


@pytest.mark.parametrize("floatx", ["float16", pytest.param("float64", marks=pytest.mark.slow)])
def test_a_run_and_a_network_are_the_same_under_any_settings(
    floatx, whole_run, dataset_folder, tmp_path
):
    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    weights = tmp_path / "mine.weights.h5"
    network.save_weights(weights)
    arguments = whole_run.path, dataset_folder, weights
    plain = python(USED, *arguments, KERAS_HOME=str(tmp_path / "none"))
    settings = {"floatx": floatx, "image_data_format": "channels_first", "backend": "jax"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    strange = python(USED, *arguments, KERAS_HOME=str(tmp_path), KERAS_BACKEND="torch")
    assert strange.returncode == 0, strange.stderr
    assert strange.stdout == plain.stdout != ""


def test_training_under_any_settings(run_flags, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"floatx": "float16"}))
    code = "import sys; from hslm_tf import train; train.main(sys.argv[1:])"
    flags = [*run_flags, "--epochs", "1", "--drop-words", "0.2", "--out", tmp_path / "run"]
    done = python(code, *flags, KERAS_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_another_backend_is_refused():
    code = """
import sys, types
config = types.SimpleNamespace(backend=lambda: "jax")
sys.modules["keras"] = types.SimpleNamespace(config=config)
import hslm_tf.serving.client
import hslm_tf.models
"""
    done = python(code)
    assert "client" not in done.stderr
    assert done.stderr.strip().endswith(
        "ImportError: Keras runs on another backend than TensorFlow: import hslm_tf.HSLM before "
        "keras, or set KERAS_BACKEND=tensorflow. Received: backend=jax"
    )


def test_the_client_leaves_the_backend_alone():
    code = "import os, hslm_tf.serving.client; print(os.environ['KERAS_BACKEND'])"
    assert python(code, KERAS_BACKEND="jax").stdout == "jax\n"


def test_tensorflow_computes_with_onednn_and_keeps_its_memory():
    one_dnn, kept = python(COMPUTED).stdout.split()
    assert one_dnn == "True" and int(kept) >= 4000
    plain = python(COMPUTED, TF_CPU_ALLOCATOR_USE_BFC="0", TF_ENABLE_ONEDNN_OPTS="0")
    assert plain.stdout == "False\n"
    # Only the allocator that keeps memory knows how much there is.
    assert "Allocator stats not available" in plain.stderr
