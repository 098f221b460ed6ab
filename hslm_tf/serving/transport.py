"""How the client reaches a model server: REST or gRPC."""

import base64
import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Arrays = dict[str, np.ndarray]
_FIRST_PAUSE = 0.1


class ServerError(RuntimeError):
    """The server refused a request or could not be reached."""


class Transport(Protocol):
    """Sends requests to one model of one server."""

    def predict(self, endpoint: str, inputs: Arrays) -> Arrays:
        """Asks an endpoint.

        Args:
            endpoint: name of the signature.
            inputs: arrays by the name of the input; strings as an object array of bytes.

        Returns:
            Arrays by the name of the output.

        Raises:
            ServerError: if the server refuses the request or cannot be reached.
            TimeoutError: if there is no answer in time.
        """

    def input_shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Shapes of the inputs by endpoint and name, -1 for any size."""


class RestTransport:
    """The REST interface, by Python's own HTTP client.

    Args:
        url: such as `http://localhost:8501`.
        model: name of the model.
        version: number of the version; None for the one that the server chooses.
        timeout: seconds to wait for an answer.
        retries: how often a request that the server could not take is sent again.
    """

    def __init__(
        self, url: str, model: str, version: int | None, timeout: float, retries: int
    ) -> None:
        part = "" if version is None else f"/versions/{version}"
        self._path = f"{url.rstrip('/')}/v1/models/{model}{part}"
        self._timeout = timeout
        self._retries = retries

    def predict(self, endpoint: str, inputs: Arrays) -> Arrays:
        columns = {name: _to_json(value) for name, value in inputs.items()}
        body = json.dumps({"signature_name": endpoint, "inputs": columns}).encode()
        answer = self._send(":predict", body)
        if not isinstance(answer.get("outputs"), dict):
            raise ServerError(f'{self._path}: the answer has no "outputs", only {sorted(answer)}')
        return {name: _from_json(value) for name, value in answer["outputs"].items()}

    def input_shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        metadata = self._send("/metadata", None)["metadata"]
        return {
            name: {
                key: tuple(int(dim["size"]) for dim in info["tensor_shape"].get("dim", ()))
                for key, info in signature["inputs"].items()
            }
            for name, signature in metadata["signature_def"]["signature_def"].items()
        }

    def _send(self, suffix: str, body: bytes | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._path + suffix, body, headers)

        def attempt() -> dict[str, Any]:
            try:
                with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                    found = json.load(answer)
            except urllib.error.HTTPError as error:
                message = f"{self._path}{suffix}: {error.code} {_error_text(error)}"
                kind = _Unavailable if error.code in (429, 503) else ServerError
                raise kind(message) from None
            except TimeoutError:
                raise self._too_late() from None
            except urllib.error.URLError as error:
                if isinstance(error.reason, TimeoutError):
                    raise self._too_late() from None
                raise _Unavailable(f"{self._path}: {error.reason}") from None
            except (ConnectionError, http.client.HTTPException) as error:
                raise _Unavailable(f"{self._path}: {error!r}") from None
            except ValueError as error:
                raise ServerError(f"{self._path}: the answer is not JSON: {error}") from None
            if not isinstance(found, dict):
                raise ServerError(f"{self._path}: the answer is no JSON object")
            return found

        return with_retries(attempt, self._retries)

    def _too_late(self) -> TimeoutError:
        return TimeoutError(f"{self._path}: no answer within {self._timeout} s")


class GrpcTransport:
    """The gRPC interface, by the stubs of `tensorflow-serving-api`.

    Args:
        target: such as `localhost:8500`.
        model: name of the model.
        version: number of the version; None for the one that the server chooses.
        timeout: seconds to wait for an answer.
        retries: how often a request that the server could not take is sent again.

    Raises:
        ImportError: if `tensorflow-serving-api` is not installed.
    """

    def __init__(
        self, target: str, model: str, version: int | None, timeout: float, retries: int
    ) -> None:
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError("gRPC needs more packages: pip install hslm-tf[client]") from error
        # Local features of a few dozen images pass the default limit of 4 MB.
        unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        self._channel = grpc.insecure_channel(target, unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._target, self._model, self._version = target, model, version
        self._timeout, self._retries = timeout, retries

    def predict(self, endpoint: str, inputs: Arrays) -> Arrays:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = endpoint
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}

    def input_shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        answer = self._call(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return {
            name: {
                key: tuple(dim.size for dim in info.tensor_shape.dim)
                for key, info in signature.inputs.items()
            }
            for name, signature in signatures.signature_def.items()
        }

    def _address(self, spec: Any) -> None:
        spec.name = self._model
        if self._version is not None:
            spec.version.value = self._version

    def _call(self, method: Callable, request: Any) -> Any:
        import grpc

        def attempt() -> Any:
            try:
                return method(request, timeout=self._timeout)
            except grpc.RpcError as error:
                code = error.code()
                message = f"{self._target}: {code.name} {error.details()}"
                if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                    message = f"{self._target}: no answer within {self._timeout} s"
                    raise TimeoutError(message) from None
                busy = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
                raise (_Unavailable if code in busy else ServerError)(message) from None

        return with_retries(attempt, self._retries)


class _Unavailable(ServerError):
    """The server cannot be reached or takes nothing at the moment."""


def with_retries(attempt: Callable[[], Any], retries: int) -> Any:
    """Calls a function again while the server takes nothing, after longer and longer pauses.

    Requests change nothing, so one may be sent twice. One that took too long is not repeated: that
    would only make a slow server slower.

    Args:
        attempt: the function.
        retries: how often it is called again.

    Returns:
        What the function returns.

    Raises:
        ServerError: whatever the function raises last.
    """
    for number in range(retries):
        try:
            return attempt()
        except _Unavailable:
            # Random, so that clients that were refused together do not return together.
            time.sleep(_FIRST_PAUSE * 2**number * random.uniform(0.5, 1.5))
    return attempt()


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


def _error_text(error: urllib.error.HTTPError) -> str:
    body = error.read()
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
