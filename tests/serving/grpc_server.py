"""The prediction service of TensorFlow Serving over a SavedModel, with its real messages."""

from concurrent import futures
from contextlib import contextmanager

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, path, signatures):
        saved_model = (path / "saved_model.pb").read_bytes()
        parsed = saved_model_pb2.SavedModel.FromString(saved_model)
        self._definitions = parsed.meta_graphs[0].signature_def
        self._signatures = signatures

    def Predict(self, request, context):
        endpoint = self._signatures.get(request.model_spec.signature_name)
        if request.model_spec.name != "hslm" or endpoint is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
        inputs = {name: tf.constant(tf.make_ndarray(t)) for name, t in request.inputs.items()}
        try:
            outputs = endpoint(**inputs)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:200])
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response

    def GetModelMetadata(self, request, context):
        definitions = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in self._definitions.items():
            definitions.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.metadata["signature_def"].Pack(definitions)
        return response


@contextmanager
def serving(path, signatures):
    """Runs the service and gives its URL."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    service = PredictionService(path, signatures)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None)
