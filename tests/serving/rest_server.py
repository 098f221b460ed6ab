"""HTTP servers in this process: one with TensorFlow Serving's REST paths, and any other."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import tensorflow as tf

# From path and body of a request to status, body and announced length of the answer.
Answer = Callable[[str, bytes], tuple[int, bytes, int]]


@contextmanager
def http_server(answer: Answer) -> Iterator[str]:
    """Runs a server and gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            code, body, length = answer(
                self.path, self.rfile.read(int(self.headers["Content-Length"] or 0))
            )
            # A client that ran out of patience is gone by now.
            with suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(code)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *values):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # Waits for every answer: one left behind would print its errors within another test, and
    # Python 3.11 cannot parse code in two threads at once, which a traceback does.
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(signatures: dict[str, Any]) -> Iterator[str]:
    """Serves a SavedModel by the REST paths, requests with columns only, and gives the URL."""

    def shape_of(spec: tf.TensorSpec) -> dict[str, Any]:
        return {"tensor_shape": {"dim": [{"size": str(size or -1)} for size in spec.shape]}}

    def respond(path: str, body: bytes) -> tuple[int, Any]:
        if path == "/v1/models/hslm/metadata":
            specs = {n: s.structured_input_signature[1] for n, s in signatures.items()}
            shapes = {
                name: {"inputs": {key: shape_of(spec) for key, spec in inputs.items()}}
                for name, inputs in specs.items()
            }
            return 200, {"metadata": {"signature_def": {"signature_def": shapes}}}
        if path != "/v1/models/hslm:predict":
            return 404, {"error": f"Servable not found for request: {path}"}
        request = json.loads(body)
        endpoint = signatures[request["signature_name"]]
        specs = endpoint.structured_input_signature[1]
        try:
            inputs = {
                name: tf.constant(_decoded(value), specs[name].dtype)
                for name, value in request["inputs"].items()
            }
            outputs = endpoint(**inputs)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            return 400, {"error": str(error)}
        return 200, {"outputs": {name: _encoded(value) for name, value in outputs.items()}}

    def answer(path: str, body: bytes) -> tuple[int, bytes, int]:
        code, content = respond(path, body)
        payload = json.dumps(content).encode()
        return code, payload, len(payload)

    with http_server(answer) as url:
        yield url


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
        values = np.vectorize(bytes.decode, otypes=[object])(values)
    return values.tolist()
