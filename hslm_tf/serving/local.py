"""`python -m hslm_tf.serving.local`: a SavedModel behind TensorFlow Serving's REST paths.

For tests and a first try only: for real requests there is TensorFlow Serving. It runs the
SavedModel without Keras, and makes no batches. No other module imports it.
"""

import base64
import json
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from hslm_tf.command_line import one_line_errors
from hslm_tf.serving.bounded_http import BoundedServer, Limits, RequestError

if TYPE_CHECKING:
    import tensorflow as tf

_LIMITS = Limits()
_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:predict)?")


class LocalServer(BoundedServer):
    """Serves the highest version of a model.

    Args:
        path: folder of the versions of one model.
        name: name of the model in the paths.
        port: port on the loopback interface; 0 for any free one.
        limits: what requests may be.

    Raises:
        FileNotFoundError: if there is no version.
    """

    def __init__(
        self, path: Path, name: str = "hslm", port: int = 0, limits: Limits = _LIMITS
    ) -> None:
        import tensorflow as tf

        versions = [int(found.name) for found in path.glob("*") if found.name.isdecimal()]
        if not versions:
            raise FileNotFoundError(f"{path} holds no version of a model")
        self.name, self.version = name, str(max(versions))
        self._model = tf.saved_model.load(str(path / self.version))
        self._defaults = _defaults(path / self.version)
        super().__init__(port, limits)

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: bytes | None) -> dict[str, Any]:
        """Answers a request under TensorFlow Serving's paths; see `BoundedServer`."""
        found = _PATH.fullmatch(path)
        if found is None or (found[3] == ":predict") != (body is not None):
            raise RequestError(404, f"Malformed request: {path}")
        if found[1] != self.name or found[2] not in (None, self.version):
            raise RequestError(404, f"Servable not found for request: {path}")
        if found[3] == ":predict":
            return self._predict(body)
        if found[3] == "/metadata":
            return self._metadata()
        state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return {"model_version_status": [{"version": self.version, **state}]}

    def _predict(self, body: bytes) -> dict[str, Any]:
        import tensorflow as tf

        try:
            request = _parsed(body)
            name = request.get("signature_name", "serving_default")
            endpoint = self._model.signatures.get(name)
            if endpoint is None:
                raise RequestError(400, f"Serving signature name: {name!r} not found")
            specs = endpoint.structured_input_signature[1]
            defaults = self._defaults[name]
            columns = _columns(request, list(specs), defaults)
            for key, value in columns.items():
                if isinstance(value, list) and len(value) > self.limits.rows:
                    raise RequestError(
                        413, f"{key} has {len(value)} rows, at most {self.limits.rows} are taken"
                    )
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
            "model_spec": {"name": self.name, "signature_name": "", "version": self.version},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }


def _defaults(version: Path) -> "dict[str, dict[str, tf.Tensor]]":
    """Default values of the inputs that a request may leave out, by endpoint."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

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


def _encoded(tensor: "tf.Tensor") -> Any:
    values = tensor.numpy()
    if values.dtype == object:
        texts = [text.decode() for text in values.ravel()]
        values = np.array(texts, object).reshape(values.shape)
    return values.tolist()


def _infos(specs: "dict[str, tf.TensorSpec]") -> dict[str, Any]:
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


@dataclass(frozen=True)
class LocalArguments:
    """Serve an exported model on this machine, behind TensorFlow Serving's REST paths."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """folder of the versions of one model"""
    name: str = "hslm"
    """name of the model"""
    port: int = 8501
    """port on the loopback interface"""
    max_rows: int = _LIMITS.rows
    """most images or captions of a request"""
    max_connections: int = _LIMITS.connections
    """most connections at a time"""
    max_seconds: float = _LIMITS.seconds
    """how long a client may take to send the next part of a request"""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(LocalArguments, prog="python -m hslm_tf.serving.local", args=args)
    with one_line_errors():
        limits = Limits(
            rows=arguments.max_rows,
            connections=arguments.max_connections,
            seconds=arguments.max_seconds,
        )
        server = LocalServer(arguments.path, arguments.name, arguments.port, limits)
        print(f"{server.url}/v1/models/{server.name}/versions/{server.version}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
