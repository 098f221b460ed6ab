"""The local server under a thousand requests at once, half of them bad.

    python -m benchmarks.serving_load                    # random weights, the paper's sizes
    python -m benchmarks.serving_load --run runs/flickr8k

A bad request has one row that cannot be read, of every kind in turn, or features of a wrong width.
What a bad row must get is its own status, and its good neighbour the right score; a wrong width
must be refused as a whole.
"""

import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

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
from hslm_tf.client import Client, RowError, ServerError
from hslm_tf.serving.transport import RestTransport

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


def measure(arguments: Arguments) -> list[dict]:
    """Exports a model, serves it in a process of its own and sends the requests.

    Args:
        arguments: what to measure.

    Returns:
        A row for every kind of request, and one for all.
    """
    from hslm_tf.serving.savedmodel import export_model

    model = model_to_export(arguments.preset, arguments.run)
    templates = [random_request(model, _ROWS, seed) for seed in range(_TEMPLATES)]
    expected = [own_scores(model, request) for request in templates]
    spoilers = bad_rows(model.config.max_tokens)
    # Good and bad in turn, the bad of every kind in turn.
    kinds = itertools.chain.from_iterable(
        ("good", bad) for bad in itertools.cycle([*spoilers, "wrong width"])
    )
    kinds = list(itertools.islice(kinds, arguments.requests))
    with tempfile.TemporaryDirectory() as folder:
        export_model(model, Path(folder))
        command = [sys.executable, "-m", "hslm_tf.serving.local", folder, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = server.stdout.readline().split("/v1/")[0]
                asker = _Asker(url, templates, expected, spoilers, len(kinds))
                started = time.perf_counter()
                with ThreadPoolExecutor(len(kinds)) as pool:
                    answers = list(pool.map(asker.ask, range(len(kinds)), kinds))
                total = time.perf_counter() - started
                alive = server.poll() is None
                asker.ask_one_more()
            finally:
                server.terminate()
    sent = Counter(kinds)
    right = Counter(kind for kind, (ok, _) in zip(kinds, answers, strict=True) if ok)
    rows = [{"kind": kind, "sent": sent[kind], "answered_rightly": right[kind]} for kind in sent]
    seconds = [waited for _, waited in answers]
    return [
        *rows,
        {
            "kind": "all",
            "sent": len(kinds),
            "answered_rightly": right.total(),
            "server_alive": alive,
            "requests_per_s": len(kinds) / total,
            "median_s": float(np.median(seconds)),
            "longest_s": max(seconds),
        },
    ]


class _Asker:
    """Sends a request and says whether the answer is right."""

    def __init__(self, url, templates, expected, spoilers, count: int) -> None:
        self._client = Client(url, timeout=_PATIENCE)
        # The client looks at shapes before it sends anything; this does not.
        self._transport = RestTransport(url, "hslm", None, _PATIENCE, retries=2)
        self._templates, self._expected, self._spoilers = templates, expected, spoilers
        self._barrier = threading.Barrier(count)
        self._client.encode_text(["warm up"])
        self._client.score(**templates[0])

    def ask(self, number: int, kind: str) -> tuple[bool, float]:
        template = number % _TEMPLATES
        request = {key: value.copy() for key, value in self._templates[template].items()}
        if kind in self._spoilers:
            self._spoilers[kind](request)
        elif kind == "wrong width":
            request["regions"] = request["regions"][..., 1:]
        # Nobody sends before everybody is ready to.
        self._barrier.wait(_PATIENCE)
        started = time.perf_counter()
        ok = self._is_right(request, kind, self._expected[template])
        return ok, time.perf_counter() - started

    def ask_one_more(self) -> None:
        """Raises if the server has stopped to answer."""
        self._client.score(**self._templates[0])

    def _is_right(self, request: Request, kind: str, expected: np.ndarray) -> bool:
        if kind == "wrong width":
            try:
                self._transport.predict("score", request)
            except ServerError as error:
                return "400" in str(error)
            return False
        try:
            scores, bad = self._client.score(**request), []
        except RowError as error:
            scores, bad = error.answer["score"], list(error.statuses)
        if kind == "good":
            return bad == [] and np.allclose(scores, expected, rtol=0, atol=_TOLERANCE)
        close = np.allclose(scores[:-1], expected[:-1], rtol=0, atol=_TOLERANCE)
        return bad == [f"row[{_ROWS - 1}]"] and close and np.isnan(scores[-1])


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: The arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.serving_load", args=args)
    if arguments.requests < 1:
        sys.exit(f"error: --requests must be at least 1, not {arguments.requests}")
    try:
        rows = measure(arguments)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print_rows(rows, arguments.out)


if __name__ == "__main__":
    main()
