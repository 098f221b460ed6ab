"""The SavedModel in TensorFlow's C++ runtime, as a model server loads it: no Python in between."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.serving.request_rows import Status
from tests.serving.exported import good_request

LIBRARIES = Path(tf.__file__).parent
SOURCE = Path(__file__).with_name("score.c")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("c") / "score"
    names = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")
    libraries = [LIBRARIES / name for name in names]
    if not all(library.exists() for library in libraries):
        pytest.skip("this TensorFlow has no C++ library of its own")
    command = [compiler, "-O1", "-Wall", "-Werror", "-o", program, SOURCE]
    command += ["-I", LIBRARIES / "include", *libraries, f"-Wl,-rpath,{LIBRARIES}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def run_program(program, exported, request, folder, counts="fed"):
    import tensorflow_text

    text_ops = Path(tensorflow_text.__file__).parent / "python/ops/_whitespace_tokenizer_v2.so"
    request["region_features"].astype("<f4").tofile(folder / "features")
    _, rows, width = request["region_features"].shape
    outputs = output_names(exported.path)
    inputs = [f"score_{name}:0" for name in ("region_features", "captions", "num_regions")]
    command = [program, text_ops, exported.path, folder / "features", str(rows), str(width)]
    command += [*inputs, *outputs]
    if counts == "left out":
        request = {**request, "num_regions": ["-"] * len(request["captions"])}
    for count, caption in zip(request["num_regions"], request["captions"], strict=True):
        command += [str(count), caption]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, capture_output=True, env=environment)


def output_names(path):
    from tensorflow.core.protobuf import saved_model_pb2

    parsed = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    outputs = parsed.meta_graphs[0].signature_def["score"].outputs
    return [outputs[name].name for name in ("score", "status")]


def test_raw_strings_through_the_c_api(program, exported, tmp_path):
    request = good_request(5)
    mask = np.arange(6) < request["num_regions"][:, None]
    expected = exported.model.score(
        request["region_features"], list(request["captions"]), mask
    ).numpy()
    request["captions"][1] = b""
    request["captions"][3] = b"caf\xe9"
    done = run_program(program, exported, request, tmp_path)
    assert done.returncode == 0, done.stderr
    scores, statuses = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    scores = np.array(scores, float)
    good = [0, 2, 4]
    np.testing.assert_allclose(scores[good], expected[good], atol=1e-5)
    assert np.isnan(scores[[1, 3]]).all()
    expected = [0, Status.EMPTY_CAPTION, 0, Status.INVALID_UTF8, 0]
    assert [int(status) for status in statuses] == expected


def test_the_number_of_regions_may_be_left_out(program, exported, tmp_path):
    request = good_request(5)
    expected = exported.model.score(request["region_features"], list(request["captions"])).numpy()
    done = run_program(program, exported, request, tmp_path, counts="left out")
    assert done.returncode == 0, done.stderr
    scores = [float(line.split()[0]) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 11), pytest.param((5, 12), marks=pytest.mark.slow)])
def test_a_wrong_shape_is_an_error_and_no_crash(program, exported, tmp_path, shape):
    request = good_request(2)
    request["region_features"] = np.ones((2, *shape), np.float32)
    done = run_program(program, exported, request, tmp_path)
    # 3 is what the program returns after a status other than OK.
    assert done.returncode == 3 and b"not compatible with expected shape" in done.stderr
