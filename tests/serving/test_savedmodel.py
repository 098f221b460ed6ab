import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.serving import savedmodel
from hslm_tf.serving.graph_ops import LONG_STANDING, unknown_ops
from hslm_tf.serving.savedmodel import export_model
from tests.serving.exported import good_request, scores_of, tiny_hslm

# Loads the SavedModel with TensorFlow alone: importing the package or Keras fails.
ALONE = """
import json, sys

sys.modules.update(dict.fromkeys(("hslm_tf", "keras", "tensorflow_text")))
import numpy as np
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
request = np.load(sys.argv[2], allow_pickle=True)
answer = loaded.signatures["score"](**{name: tf.constant(request[name]) for name in request})
print(json.dumps({name: value.numpy().tolist() for name, value in answer.items()}))
"""


def test_loads_without_the_package_and_without_keras(exported, tmp_path):
    request = good_request(4)
    np.savez(tmp_path / "request.npz", **request)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, exported.path, tmp_path / "request.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    np.testing.assert_allclose(answer["score"], scores_of(exported.model, request), atol=1e-5)


def test_every_tensor_of_every_endpoint_has_a_name(signatures):
    names = {
        name: (
            set(endpoint.structured_input_signature[1]),
            set(endpoint.structured_outputs),
        )
        for name, endpoint in signatures.items()
    }
    score = {"region_features", "num_regions", "captions"}, {"score", "status"}
    assert names == {
        "serving_default": score,
        "score": score,
        "encode_text": ({"captions"}, {"words", "word_mask", "vector", "status"}),
        "encode_image": (
            {"region_features", "num_regions"},
            {"regions", "region_mask", "vector", "status"},
        ),
        "score_matrix": (
            {"regions", "region_mask", "captions"},
            {"scores", "image_status", "caption_status"},
        ),
        "search": ({"captions"}, {"ids", "scores", "status"}),
    }


def test_graph_has_long_standing_operations_only(exported):
    assert unknown_ops(exported.path) == []
    assert not [name for name in LONG_STANDING if re.search("Cudnn|Xla|TFText|PyFunc", name)]
    # TensorFlow itself must know every name of the list.
    from tensorflow.python.framework import op_def_registry

    assert [name for name in LONG_STANDING if op_def_registry.get(name) is None] == []


def test_an_unknown_operation_is_refused(monkeypatch, tmp_path):
    stub_saving(monkeypatch)
    monkeypatch.setattr(savedmodel, "unknown_ops", lambda folder, known: ["CudnnRNNV3"])
    with pytest.raises(ValueError, match="CudnnRNNV3"):
        export_model(tiny_hslm(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def stub_saving(monkeypatch):
    """Tracing takes seconds; what surrounds it can be tested without."""

    class Stub:
        tracked = None
        signatures = examples = lambda self: {}

        def __init__(self, *args):
            pass

    def save(tracked, folder, signatures):
        Path(folder).mkdir()
        Path(folder, "saved_model.pb").write_bytes(b"")

    monkeypatch.setattr(savedmodel, "Endpoints", Stub)
    monkeypatch.setattr(savedmodel.tf.saved_model, "save", save)


def test_versions_are_counted_and_never_overwritten(monkeypatch, tmp_path):
    stub_saving(monkeypatch)
    model, out = tiny_hslm(), tmp_path / "deep" / "out"
    assert export_model(model, out) == out / "1"
    assert export_model(model, out, version=7) == out / "7"
    (out / "not-a-version").mkdir()
    (out / "models.config").write_text("mine")
    assert export_model(model, out) == out / "8"
    with pytest.raises(FileExistsError, match="7"):
        export_model(model, out, version=7)
    with pytest.raises(ValueError, match="version=-1"):
        export_model(model, out, version=-1)
    assert (out / "models.config").read_text() == "mine"
    assert sorted(path.name for path in out.iterdir()) == [
        "1",
        "7",
        "8",
        "batching_params.pbtxt",
        "models.config",
        "not-a-version",
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full"), SystemExit(143)])
def test_an_export_that_fails_leaves_nothing(monkeypatch, tmp_path, error):
    stub_saving(monkeypatch)

    def fail(folder, examples):
        raise error

    monkeypatch.setattr(savedmodel, "write_warmup", fail)
    with pytest.raises(type(error)):
        export_model(tiny_hslm(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_two_exports_of_one_version_cannot_mix(monkeypatch, tmp_path):
    stub_saving(monkeypatch)

    def other_export_finishes(folder, examples):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").write_bytes(b"other")

    monkeypatch.setattr(savedmodel, "write_warmup", other_export_finishes)
    with pytest.raises(FileExistsError, match="1 exists already, another process wrote it"):
        export_model(tiny_hslm(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == b"other"


def test_warmup_requests_are_those_of_the_server(exported, signatures):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    path = exported.path / "assets.extra" / "tf_serving_warmup_requests"
    endpoints = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        endpoint = signatures[request.model_spec.signature_name]
        answer = endpoint(**{name: tf.constant(value) for name, value in inputs.items()})
        statuses = [value for name, value in answer.items() if name.endswith("status")]
        assert statuses and not any(np.any(status) for status in statuses)
        endpoints.append(request.model_spec.signature_name)
    assert sorted(endpoints) == sorted(signatures)


def test_without_the_protocol_there_is_no_warmup_and_one_line_says_so(
    monkeypatch, tmp_path, caplog
):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    savedmodel.write_warmup(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
    assert "pip install hslm-tf[serving]" in caplog.text


def test_configuration_files_are_valid(exported):
    text_format = pytest.importorskip("google.protobuf.text_format")
    server_config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text = (exported.versions / "models.config").read_text()
    parsed = text_format.Parse(text, server_config.ModelServerConfig())
    (entry,) = parsed.model_config_list.config
    assert (entry.name, entry.model_platform) == ("hslm", "tensorflow")
    # The message of this file is not part of tensorflow-serving-api.
    text = (exported.versions / "batching_params.pbtxt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    fields = [re.fullmatch(r"(\w+) { value: (\d+) }", line) for line in lines]
    assert [field[1] for field in fields] == [
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
    ]


def test_a_model_of_mixed_precision_is_exported_in_float32(tmp_path):
    model = tiny_hslm()
    mixed = type(model).from_config({**model.get_config(), "dtype": "mixed_bfloat16"})
    mixed.set_weights(model.get_weights())
    copy = savedmodel.in_float32(mixed)
    assert copy.policy_name == "float32"
    request = good_request(3)
    np.testing.assert_array_equal(scores_of(copy, request), scores_of(model, request))
