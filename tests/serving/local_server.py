"""A SavedModel behind TensorFlow Serving's REST paths: `python -m tests.serving.local_server DIR`.

It runs the SavedModel without Keras, as a model server does. DIR is the folder of one version.
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import tensorflow as tf

_MODEL = "/v1/models/hslm"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply(200, self.server.metadata)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != f"{_MODEL}:predict":
            return self._reply(404, {"error": f"Servable not found for request: {self.path}"})
        try:
            return self._reply(200, {"outputs": self.server.predict(json.loads(body))})
        except (ValueError, TypeError, tf.errors.OpError) as error:
            return self._reply(400, {"error": str(error)})

    def _reply(self, code: int, answer: dict[str, Any]) -> None:
        payload = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, message: str, *values: object) -> None:
        pass


class LocalServer(ThreadingHTTPServer):
    """Serves one version of a model on any free port."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self._model = tf.saved_model.load(path)
        super().__init__(("127.0.0.1", 0), _Handler)

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers a request that has its inputs as columns."""
        endpoint = self._model.signatures[request["signature_name"]]
        specs = endpoint.structured_input_signature[1]
        inputs = {
            name: tf.constant(_decoded(value), specs[name].dtype)
            for name, value in request["inputs"].items()
        }
        return {name: _encoded(tensor) for name, tensor in endpoint(**inputs).items()}

    @property
    def metadata(self) -> dict[str, Any]:
        """Shapes of the inputs of every endpoint."""
        signatures = {
            name: {
                "inputs": {
                    key: {"tensor_shape": {"dim": [{"size": str(size or -1)} for size in x.shape]}}
                    for key, x in endpoint.structured_input_signature[1].items()
                }
            }
            for name, endpoint in self._model.signatures.items()
        }
        return {"metadata": {"signature_def": {"signature_def": signatures}}}


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    # Looks at the first item only, because lists of numbers are long.
    first = value
    while isinstance(first, list) and first:
        first = first[0]
    return [_decoded(item) for item in value] if isinstance(first, dict) else value


def _encoded(tensor: tf.Tensor) -> Any:
    values = tensor.numpy()
    if values.dtype == object:
        texts = [text.decode() for text in values.ravel()]
        values = np.array(texts, object).reshape(values.shape)
    return values.tolist()


if __name__ == "__main__":
    with LocalServer(sys.argv[1]) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
