"""How the client reaches a model server: REST or gRPC."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import urllib3

Arrays = dict[str, np.ndarray]
_FIRST_PAUSE = 0.1


class ServerError(RuntimeError):
    """The server refused a request or could not be reached."""


class RestTransport:
    """The REST interface."""

    def __init__(
        self, url: str, model: str, version: int | None, timeout: float, retries: int
    ) -> None:
        part = "" if version is None else f"/versions/{version}"
        self._path = f"{url.rstrip('/')}/v1/models/{model}{part}"
        self._timeout = timeout
        # A request changes nothing, so it may be sent twice. One that took too long is not: that
        # would make a slow server slower.
        self._pool = urllib3.PoolManager(
            headers={"Content-Type": "application/json"},
            timeout=timeout,
            retries=urllib3.Retry(
                total=None,
                connect=retries,
                read=False,
                status=retries,
                other=retries,
                allowed_methods=None,
                status_forcelist=(429, 503),
                backoff_factor=_FIRST_PAUSE,
                backoff_jitter=_FIRST_PAUSE,
                backoff_max=10,
                respect_retry_after_header=False,
                raise_on_status=False,
            ),
        )

    def predict(self, endpoint: str, inputs: Arrays) -> Arrays:
        """Asks an endpoint."""
        columns = {name: _to_json(value) for name, value in inputs.items()}
        body = json.dumps({"signature_name": endpoint, "inputs": columns}).encode()
        answer = self._send(":predict", body)
        if not isinstance(answer.get("outputs"), dict):
            raise ServerError(f'{self._path}: the answer has no "outputs", only {sorted(answer)}')
        return {name: _from_json(value) for name, value in answer["outputs"].items()}

    def inputs(self, endpoint: str) -> dict[str, tuple[int, ...]]:
        """The inputs of an endpoint and their shapes; none where it has no such endpoint."""
        answer = self._send("/metadata", None)
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            inputs = signatures[endpoint]["inputs"] if endpoint in signatures else {}
            # A tensor without axes has no `dim`.
            return {
                name: tuple(int(axis["size"]) for axis in found["tensor_shape"].get("dim", ()))
                for name, found in inputs.items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(f"{self._path}/metadata: the answer names no inputs") from error

    def _send(self, suffix: str, body: bytes | None) -> dict[str, Any]:
        method = "GET" if body is None else "POST"
        errors = urllib3.exceptions
        try:
            answer = self._pool.request(method, self._path + suffix, body=body)
        except errors.HTTPError as error:
            # Where the pool tried again, the error stands in its `reason`. A connection that is
            # refused is a TimeoutError to urllib3, too.
            reason = getattr(error, "reason", error)
            late = isinstance(reason, errors.TimeoutError)
            if late and not isinstance(reason, errors.NewConnectionError):
                raise TimeoutError(f"{self._path}: no answer within {self._timeout} s") from None
            raise ServerError(f"{self._path}: {error}") from None
        if answer.status != 200:
            raise ServerError(f"{self._path}{suffix}: {answer.status} {_error_text(answer.data)}")
        try:
            content = json.loads(answer.data)
        except (ValueError, RecursionError) as error:
            raise ServerError(f"{self._path}: the answer is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise ServerError(f"{self._path}: the answer is not a JSON object")
        return content


class GrpcTransport:
    """The gRPC interface, by the stubs of `tensorflow-serving-api`."""

    def __init__(
        self, target: str, model: str, version: int | None, timeout: float, retries: int
    ) -> None:
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError("gRPC needs more packages: pip install hslm-tf[client]") from error
        # Local features of a few dozen images pass the default limit of 4 MB.
        options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        options.append(("grpc.service_config", _retry_policy(retries)))
        self._channel = grpc.insecure_channel(target, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._target, self._model, self._version = target, model, version
        self._timeout = timeout

    def predict(self, endpoint: str, inputs: Arrays) -> Arrays:
        """Asks an endpoint."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = endpoint
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}

    def inputs(self, endpoint: str) -> dict[str, tuple[int, ...]]:
        """The inputs of an endpoint and their shapes; none where it has no such endpoint."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        answer = self._call(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return {
            name: tuple(axis.size for axis in found.tensor_shape.dim)
            for name, found in signatures.signature_def[endpoint].inputs.items()
        }

    def _address(self, spec: Any) -> None:
        spec.name = self._model
        if self._version is not None:
            spec.version.value = self._version

    def _call(self, method: Callable, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                message = f"{self._target}: no answer within {self._timeout} s"
                raise TimeoutError(message) from None
            raise ServerError(f"{self._target}: {error.code().name} {error.details()}") from None


def _retry_policy(retries: int) -> str:
    """Retries by gRPC itself, which makes four at most."""
    policy = {
        "maxAttempts": min(retries, 4) + 1,
        "initialBackoff": f"{_FIRST_PAUSE}s",
        "maxBackoff": "10s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }
    methods = [{"name": [{}], "retryPolicy": policy}] if retries else []
    return json.dumps({"methodConfig": methods})


def _to_json(value: np.ndarray) -> Any:
    if value.dtype != object:
        return value.tolist()
    if value.ndim > 1:
        return [_to_json(row) for row in value]
    return [{"b64": base64.b64encode(text).decode()} for text in value]


def _from_json(value: Any) -> np.ndarray:
    array = np.asarray(value)
    # JSON has one type of number, which becomes float64; the model computes in float32.
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _error_text(body: bytes) -> str:
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
