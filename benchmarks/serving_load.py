"""The local server under a thousand requests at once, half of them bad.

    python -m benchmarks.serving_load                    # random weights, the paper's sizes
    python -m benchmarks.serving_load --run runs/flickr8k

A bad request has one row that cannot be read, of every kind in turn, or features of a wrong width.
A bad row must get its own status, and the good row beside it the right score; a request of a wrong
width must be refused. Every request has a connection of its own; all are made before any is sent,
and are sent at the same time.
"""

import base64
import http.client
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro

from benchmarks.rows import print_rows
from benchmarks.serving_requests import (
    Request,
    bad_rows,
    model_to_export,
    own_scores,
    random_request,
)
from hslm_tf.command_line import one_line_errors
from hslm_tf.serving.status import Status

_ROWS, _TEMPLATES = 2, 10
_TOLERANCE = 1e-5
_PATIENCE = 1200


@dataclass(frozen=True)
class Arguments:
    """The local server under load."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr30k"
    """configuration whose sizes are taken, with random weights"""
    run: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """directory of a trained run instead"""
    requests: int = 1000
    """requests, all sent at once"""
    out: Path | None = None
    """file to append JSON lines to"""


class Case(NamedTuple):
    """A request and what must come back.

    Attributes:
        kind: `good`, a kind of bad row, or `wrong width`.
        body: the request, JSON.
        scores: the model's own scores; the last row of a bad one has none.
        status: of the last row; None where the request must be refused.
    """

    kind: str
    body: bytes
    scores: np.ndarray
    status: int | None


class Answer(NamedTuple):
    """What came back, and when.

    Attributes:
        code: status of HTTP.
        body: the answer, from JSON.
        sent: seconds at which it was sent.
        came: seconds at which the answer was complete.
    """

    code: int
    body: dict
    sent: float
    came: float


def cases(model, count: int) -> list[Case]:
    """Makes requests, good and bad in turn, the bad of every kind in turn.

    Args:
        model: the model.
        count: how many.

    Returns:
        The requests; bodies of the same kind are shared.
    """
    spoilers = bad_rows(model.config.max_tokens)
    made = {}
    for template in range(_TEMPLATES):
        request = random_request(model, _ROWS, template)
        scores = own_scores(model, request)
        made["good", template] = Case("good", _body(request), scores, Status.OK)
        for kind, (spoil, status) in spoilers.items():
            spoilt = {key: value.copy() for key, value in request.items()}
            spoil(spoilt)
            made[kind, template] = Case(kind, _body(spoilt), scores, status)
        narrow = {**request, "region_features": request["region_features"][..., 1:]}
        made["wrong width", template] = Case("wrong width", _body(narrow), scores, None)
    bad = itertools.cycle([*spoilers, "wrong width"])
    kinds = itertools.chain.from_iterable(("good", kind) for kind in bad)
    return [made[kind, i % _TEMPLATES] for i, kind in enumerate(itertools.islice(kinds, count))]


def is_right(case: Case, answer: Answer) -> bool:
    """Whether an answer is what it must be.

    Args:
        case: the request.
        answer: the answer.

    Returns:
        True for a refused request that must be refused, or the right status of every row, the
        right scores of the good ones and none for a bad one.
    """
    if case.status is None:
        return answer.code == 400 and "region_features" in answer.body["error"]
    if answer.code != 200:
        return False
    scores = np.array(answer.body["outputs"]["score"], np.float64)
    expected = np.array(case.scores, np.float64)
    if case.status != Status.OK:
        expected[-1] = np.nan
    statuses = [Status.OK] * (_ROWS - 1) + [case.status]
    return answer.body["outputs"]["status"] == statuses and np.allclose(
        scores, expected, rtol=0, atol=_TOLERANCE, equal_nan=True
    )


def measure(arguments: Arguments) -> list[dict]:
    """Exports a model, serves it in a process of its own and sends the requests.

    Args:
        arguments: what to measure.

    Returns:
        A row for every kind of request, and one for all.
    """
    from hslm_tf.serving.savedmodel import export_model

    model = model_to_export(arguments.preset, arguments.run)
    asked = cases(model, arguments.requests)
    with tempfile.TemporaryDirectory() as folder:
        export_model(model, Path(folder))
        command = [sys.executable, "-m", "hslm_tf.serving.local", folder, "--port", "0"]
        # All are in flight at once; a body waits for the one process that reads them.
        command += ["--max-connections", "2000", "--max-seconds", "600"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                address = server.stdout.readline().split("/")[2]
                # The first request waits for the graph to be optimized.
                _send(address, asked[:1])
                answers = _send(address, asked)
                alive = server.poll() is None and is_right(asked[0], _send(address, asked[:1])[0])
            finally:
                server.terminate()
    pairs = list(zip(asked, answers, strict=True))
    sent = Counter(case.kind for case in asked)
    right = Counter(case.kind for case, answer in pairs if is_right(case, answer))
    rows = [{"kind": kind, "sent": sent[kind], "answered_rightly": right[kind]} for kind in sent]
    waited = [answer.came - answer.sent for answer in answers]
    total = max(answer.came for answer in answers) - min(answer.sent for answer in answers)
    return [
        *rows,
        {
            "kind": "all",
            "sent": len(asked),
            "answered_rightly": right.total(),
            "answers_afterwards": bool(alive),
            "most_at_once": most_at_once(answers),
            "requests_per_s": len(asked) / total,
            "median_s": float(np.median(waited)),
            "longest_s": max(waited),
        },
    ]


def most_at_once(answers: Sequence[Answer]) -> int:
    """The largest number of requests that waited for their answer at the same time."""
    changes = [(answer.sent, 1) for answer in answers] + [(answer.came, -1) for answer in answers]
    return int(np.cumsum([change for _, change in sorted(changes)]).max())


def _send(address: str, asked: Sequence[Case]) -> list[Answer]:
    barrier = threading.Barrier(len(asked))

    def ask(case: Case) -> Answer:
        connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
        connection.connect()
        # Nothing is sent before all are connected.
        barrier.wait(_PATIENCE)
        sent = time.perf_counter()
        connection.request("POST", "/v1/models/hslm:predict", case.body)
        response = connection.getresponse()
        text = response.read()
        came = time.perf_counter()
        connection.close()
        return Answer(response.status, json.loads(text), sent, came)

    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(ask, asked))


def _body(request: Request) -> bytes:
    captions = [{"b64": base64.b64encode(text).decode()} for text in request["captions"]]
    columns = {key: value.tolist() for key, value in request.items() if key != "captions"}
    return json.dumps({"inputs": {**columns, "captions": captions}}).encode()


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.serving_load", args=args)
    if arguments.requests < 1:
        sys.exit(f"error: --requests must be at least 1, not {arguments.requests}")
    with one_line_errors():
        print_rows(measure(arguments), arguments.out)


if __name__ == "__main__":
    main()
