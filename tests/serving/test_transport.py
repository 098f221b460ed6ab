"""The client against servers that fail: busy, refusing, late, broken, or not there."""

import importlib.util
import json
import socket
import time
from contextlib import contextmanager

import pytest

from hslm_tf.serving import transport
from hslm_tf.serving.client import Client, ServerError
from tests.serving.rest_server import http_server

HAS_GRPC = importlib.util.find_spec("tensorflow_serving") is not None


@contextmanager
def failing_server(*codes, pause=0.0):
    """Answers with one code after the other, then with encodings of nothing."""
    waiting = list(codes)

    def answer(path, request):
        time.sleep(pause)
        code = waiting.pop(0) if waiting and path.endswith(":predict") else 200
        body = {"error": "not now"} if code != 200 else {"outputs": {"status": [0]}}
        payload = json.dumps(body).encode()
        return code, payload, len(payload)

    with http_server(answer) as url:
        yield url, waiting


def answering_server(body, length=None):
    """Answers everything with the same bytes, of which it may promise more."""
    return http_server(lambda path, request: (200, body, length or len(body)))


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(transport, "_FIRST_PAUSE", 0.0)


def test_a_busy_server_gets_the_request_again(no_pauses):
    with failing_server(503, 429) as (url, waiting):
        assert Client(url, retries=2).encode_text(["a dog"]) == {}
    assert waiting == []
    with failing_server(503, 503) as (url, _), pytest.raises(ServerError, match="503 not now"):
        Client(url, retries=1).encode_text(["a dog"])


def test_a_refused_request_is_not_sent_again(no_pauses):
    with failing_server(400, 400) as (url, waiting):
        with pytest.raises(ServerError, match="400 not now"):
            Client(url, retries=5).encode_text(["a dog"])
        assert waiting == [400]


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"predictions": []}', b'{"outputs": 3}'])
def test_an_answer_that_is_none_is_an_error_of_the_server(body):
    with answering_server(body) as url, pytest.raises(ServerError, match="the answer"):
        Client(url).encode_text(["a"])


def test_a_connection_that_ends_within_the_answer(no_pauses):
    with (
        answering_server(b'{"outp', length=100) as url,
        pytest.raises(ServerError, match="Incompl"),
    ):
        Client(url).encode_text(["a"])


def test_time_out():
    with (
        failing_server(pause=1.0) as (url, _),
        pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"),
    ):
        Client(url, timeout=0.05).encode_text(["a dog"])


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there(no_pauses, scheme):
    if scheme == "grpc" and not HAS_GRPC:
        pytest.skip("needs the extra `client`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"{scheme}://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ServerError):
            Client(url, retries=1, timeout=5).encode_text(["a dog"])
