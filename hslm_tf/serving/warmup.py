"""Warm-up requests, which a model server answers before it says that a version is ready."""

import logging
from pathlib import Path

import numpy as np
import tensorflow as tf

logger = logging.getLogger("hslm_tf")


def write_warmup(version: Path, examples: dict[str, dict[str, np.ndarray]]) -> None:
    """Writes one request to every endpoint into `assets.extra/` of a SavedModel."""
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
