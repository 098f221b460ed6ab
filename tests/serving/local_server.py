"""A SavedModel behind TensorFlow Serving's REST paths: `python -m tests.serving.local_server DIR`.

It runs the SavedModel without Keras, as a model server does. DIR holds the versions of one model.
"""

import base64
import json
import re
import sys
from collections.abc import Container
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:predict)?")


class RequestError(ValueError):
    """A request that has no answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(self.rfile.read(int(self.headers["Content-Length"])))

    def _reply(self, body: bytes | None) -> None:
        try:
            code, answer = 200, self.server.answer(self.path, body)
        except RequestError as error:
            code, answer = error.code, {"error": str(error)}
        payload = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, message: str, *values: object) -> None:
        pass


class LocalServer(ThreadingHTTPServer):
    """Serves the highest version of a model on any free port."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.version = str(max(int(found.name) for found in path.glob("[0-9]*")))
        self._model = tf.saved_model.load(str(path / self.version))
        self._defaults = _defaults(path / self.version)
        super().__init__(("127.0.0.1", 0), _Handler)

    def answer(self, path: str, body: bytes | None) -> dict[str, Any]:
        """Answers a request; `body` is None in a GET request."""
        found = _PATH.fullmatch(path)
        if found is None or (found[3] == ":predict") != (body is not None):
            raise RequestError(404, f"Malformed request: {path}")
        if found[1] != "hslm" or found[2] not in (None, self.version):
            raise RequestError(404, f"Servable not found for request: {path}")
        if found[3] == ":predict":
            return self._predict(body)
        if found[3] == "/metadata":
            return self._metadata()
        state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return {"model_version_status": [{"version": self.version, **state}]}

    def _predict(self, body: bytes) -> dict[str, Any]:
        try:
            request = _parsed(body)
            name = request.get("signature_name", "serving_default")
            endpoint = self._model.signatures.get(name)
            if endpoint is None:
                raise RequestError(400, f"Serving signature name: {name!r} not found")
            specs = endpoint.structured_input_signature[1]
            defaults = self._defaults[name]
            columns = _columns(request, list(specs), defaults)
            inputs = {
                key: tf.constant(_decoded(value), specs[key].dtype)
                for key, value in columns.items()
            }
            outputs = endpoint(**{**defaults, **inputs})
        except (ValueError, TypeError, KeyError, AttributeError, tf.errors.OpError) as error:
            if isinstance(error, RequestError):
                raise
            raise RequestError(400, str(error)) from error
        answers = {name: _encoded(tensor) for name, tensor in outputs.items()}
        if "instances" not in request:
            return {"outputs": answers}
        rows = zip(*answers.values(), strict=True)
        return {"predictions": [dict(zip(answers, row, strict=True)) for row in rows]}

    def _metadata(self) -> dict[str, Any]:
        signatures = {
            name: {
                "inputs": _infos(endpoint.structured_input_signature[1]),
                "outputs": _infos(endpoint.structured_outputs),
                "method_name": "tensorflow/serving/predict",
            }
            for name, endpoint in self._model.signatures.items()
        }
        return {
            "model_spec": {"name": "hslm", "signature_name": "", "version": self.version},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }


def _defaults(version: Path) -> dict[str, dict[str, tf.Tensor]]:
    """Default values of the inputs that a request may leave out, by endpoint."""
    saved_model = (version / "saved_model.pb").read_bytes()
    definitions = saved_model_pb2.SavedModel.FromString(saved_model).meta_graphs[0].signature_def
    return {
        name: {key: tf.constant(tf.make_ndarray(value)) for key, value in info.defaults.items()}
        for name, info in definitions.items()
    }


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except RecursionError as error:
        raise RequestError(400, "the request is nested too deep") from error
    if not isinstance(request, dict):
        raise RequestError(400, "a request is a JSON object")
    return request


def _columns(request: dict[str, Any], names: list[str], optional: Container[str]) -> dict[str, Any]:
    """Inputs by name, from the row format ("instances") or the column format ("inputs")."""
    if ("instances" in request) == ("inputs" in request):
        raise RequestError(400, 'a request has either "instances" or "inputs"')
    if "inputs" in request:
        given = request["inputs"]
        columns = given if isinstance(given, dict) and "b64" not in given else {names[0]: given}
    else:
        if not isinstance(request["instances"], list):
            raise RequestError(400, '"instances" must be a list of rows')
        rows = [
            row if isinstance(row, dict) and "b64" not in row else {names[0]: row}
            for row in request["instances"]
        ]
        if any(set(row) != set(rows[0]) for row in rows):
            raise RequestError(400, "all rows of a request must have the same inputs")
        columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else names)}
    required = {name for name in names if name not in optional}
    if not required <= set(columns) <= set(names):
        raise RequestError(400, f"inputs must be {sorted(names)}, not {sorted(columns)}")
    return columns


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, list) and _holds_strings(value):
        return [_decoded(item) for item in value]
    return value


def _holds_strings(value: Any) -> bool:
    # Looks at the first item only, because lists of numbers are long.
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, str | dict)


def _encoded(tensor: tf.Tensor) -> Any:
    values = tensor.numpy()
    if values.dtype == object:
        texts = [text.decode() for text in values.ravel()]
        values = np.array(texts, object).reshape(values.shape)
    return values.tolist()


def _infos(specs: dict[str, tf.TensorSpec]) -> dict[str, Any]:
    return {
        name: {
            "dtype": f"DT_{spec.dtype.name.upper().replace('FLOAT32', 'FLOAT')}",
            "tensor_shape": {
                "dim": [{"size": str(size or -1), "name": ""} for size in spec.shape],
                "unknown_rank": False,
            },
            "name": name,
        }
        for name, spec in specs.items()
    }


if __name__ == "__main__":
    with LocalServer(Path(sys.argv[1])) as server:
        place = f"http://127.0.0.1:{server.server_port}/v1/models/hslm"
        print(f"{place}/versions/{server.version}", flush=True)
        server.serve_forever()
