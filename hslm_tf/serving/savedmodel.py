"""Writes a model as a version that TensorFlow Serving can load."""

import logging
from pathlib import Path

import numpy as np
import tensorflow as tf

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import ProjectionHeads, heads_of
from hslm_tf.serving.endpoints import Endpoints
from hslm_tf.serving.graph_ops import LONG_STANDING, WORD_PIECES, unknown_ops
from hslm_tf.serving.precision import Precision
from hslm_tf.serving.search_index import SearchIndex

logger = logging.getLogger("hslm_tf")

_BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=THIS_FILE
max_batch_size { value: 64 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 1000 }
num_batch_threads { value: 2 }
"""
_MODELS = """\
# tensorflow_model_server --model_config_file=THIS_FILE; base_path is a path inside the container.
model_config_list {
  config {
    name: "hslm"
    base_path: "/models/hslm"
    model_platform: "tensorflow"
  }
}
"""


def export_model(
    model: HSLM,
    out: Path,
    version: int | None = None,
    precision: Precision = "float32",
    heads: ProjectionHeads | None = None,
    index: SearchIndex | None = None,
) -> Path:
    """Writes `out/<version>/`, complete or not at all."""
    version = _next_version(out) if version is None else version
    if version < 0:
        raise ValueError(f"A version is 0 or more. Received: version={version}")
    target = out / str(version)
    if target.exists():
        raise FileExistsError(f"{target} exists already: a version is never overwritten")
    # Checked with the model itself, because a float32 copy has another fingerprint.
    heads = heads_of(model, heads)
    endpoints = Endpoints(in_float32(model), precision, heads, index)
    known = LONG_STANDING
    if model.config.pretrained_text:
        known |= WORD_PIECES
    out.mkdir(parents=True, exist_ok=True)
    # Servers load only folders that are named by a number, so they do not see the draft.
    with atomic_write(target) as draft:
        try:
            tf.saved_model.save(endpoints.tracked, str(draft), signatures=endpoints.signatures())
            if unknown := unknown_ops(draft, known):
                raise ValueError(
                    "The graph needs operations that not every model server has: "
                    + ", ".join(unknown)
                )
            write_warmup(draft, endpoints.examples())
        except tf.errors.OpError as error:
            # The message begins with the operation and the draft's name.
            reason = error.message.rpartition("; ")[2].partition("[Op:")[0]
            raise OSError(reason.strip()) from error
    for name, text in (("batching_params.pbtxt", _BATCHING), ("models.config", _MODELS)):
        if not (out / name).exists():
            with atomic_write(out / name) as draft:
                draft.write_text(text, "utf-8")
    return target


def write_warmup(version: Path, examples: dict[str, dict[str, np.ndarray]]) -> None:
    """Writes requests that a model server answers before it says that a version is ready."""
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        logger.warning("no warm-up requests are written: pip install hslm-tf[serving]")
        return
    folder = version / "assets.extra"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for endpoint, inputs in examples.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "hslm"
            request.model_spec.signature_name = endpoint
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            record = prediction_log_pb2.PredictionLog(predict_log=log)
            writer.write(record.SerializeToString())


def in_float32(model: HSLM) -> HSLM:
    """Returns a copy of a model that computes in float32, or the model where it does already."""
    if model.policy_name == "float32":
        return model
    copy = HSLM.from_config({**model.get_config(), "dtype": "float32"})
    copy.set_weights(model.get_weights())
    return copy


def _next_version(out: Path) -> int:
    versions = [int(path.name) for path in out.glob("[0-9]*") if path.name.isdecimal()]
    return max(versions, default=0) + 1
