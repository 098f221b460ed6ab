"""Requests that nobody meant to send, byte by byte."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from hslm_tf.serving.bounded_http import BoundedServer, Limits, RequestError
from hslm_tf.serving.local import LocalServer

LIMITS = Limits(body_bytes=1000, rows=3, connections=4, seconds=0.5)


class Echo(BoundedServer):
    """Answers with the length of what it was sent."""

    def answer(self, path, body):
        if path == "/broken":
            raise KeyError("broken")
        return {"path": path, "bytes": None if body is None else len(body)}


@pytest.fixture
def server():
    with Echo(0, LIMITS) as echo:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        yield echo
        echo.shutdown()


@contextmanager
def connected(server):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
        yield client


def received(client) -> tuple[int, dict]:
    """Status and content of one reply."""
    reply = client.makefile("rb")
    code = int(reply.readline().split()[1])
    length = 0
    while line := reply.readline().strip():
        name, value = line.split(b": ", 1)
        if name.lower() == b"content-length":
            length = int(value)
    return code, json.loads(reply.read(length) or "{}")


def asked(server, content: bytes) -> tuple[int, dict]:
    with connected(server) as client:
        client.sendall(content)
        return received(client)


def post(length, body=b"", path=b"/x") -> bytes:
    header = b"" if length is None else b"Content-Length: " + str(length).encode() + b"\r\n"
    return b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n" + body


def test_good_requests(server):
    assert asked(server, b"GET /a HTTP/1.1\r\n\r\n") == (200, {"path": "/a", "bytes": None})
    assert asked(server, post(1000, b"x" * 1000)) == (200, {"path": "/x", "bytes": 1000})
    with connected(server) as client:
        for length in (3, 0, 5):
            client.sendall(post(length, b"y" * length))
            assert received(client)[1]["bytes"] == length


@pytest.mark.parametrize(
    "length, code, error",
    [
        (None, 411, "needs its Content-Length"),
        (-1, 400, "Content-Length is '-1', expected a number of bytes"),
        ("abc", 400, "Content-Length is 'abc'"),
        ("1e3", 400, "expected a number"),
        ("٣", 400, "expected a number"),
        ("", 400, "expected a number"),
        (1001, 413, "the body has 1001 bytes, at most 1000 are taken"),
        (10**12, 413, "at most 1000"),
        ("9" * 5000, 413, "at most 1000"),
    ],
)
def test_lengths_that_cannot_be(server, length, code, error):
    found, answer = asked(server, post(length, b"{}"))
    assert found == code and error in answer["error"]
    assert asked(server, post(2, b"{}"))[0] == 200, "others are still served"


def test_a_body_that_does_not_come(server):
    begun = time.monotonic()
    code, answer = asked(server, post(100, b"half"))
    assert code == 408 and "did not come in time" in answer["error"]
    assert time.monotonic() - begun < 5


def test_a_body_that_ends_early(server):
    with connected(server) as client:
        client.sendall(post(100, b"half"))
        client.shutdown(socket.SHUT_WR)
        code, answer = received(client)
    assert code == 400 and "the body has 4 bytes, Content-Length says 100" in answer["error"]


def test_what_follows_a_refused_body_is_no_request(server):
    with connected(server) as client:
        client.sendall(post(5000, b"GET /hidden HTTP/1.1\r\n\r\n"))
        assert received(client)[0] == 413
        assert client.recv(100) == b""


def test_a_fault_of_the_server_is_told(server):
    code, answer = asked(server, b"GET /broken HTTP/1.1\r\n\r\n")
    assert code == 500 and "KeyError" in answer["error"]
    assert asked(server, b"GET /a HTTP/1.1\r\n\r\n")[0] == 200


def test_stalled_connections_take_no_more_than_their_threads(server):
    before = threading.active_count()
    stalled = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(4)]
    for client in stalled:
        client.sendall(b"POST /x HT")
    time.sleep(0.2)
    assert threading.active_count() <= before + 4
    assert asked(server, b"GET /a HTTP/1.1\r\n\r\n") == (503, {})
    # Their time is up after half a second: then there is room again.
    time.sleep(1)
    assert asked(server, b"GET /a HTTP/1.1\r\n\r\n")[0] == 200
    for client in stalled:
        client.close()


def test_the_model_behind_it(exported):
    server = LocalServer(Path(exported.versions), limits=LIMITS)
    path = "/v1/models/hslm:predict"

    def refused(content) -> tuple[int, str]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        with pytest.raises(RequestError) as error:
            server.answer(path, body)
        return error.value.code, str(error.value)

    captions = {"signature_name": "encode_text", "inputs": {"captions": ["a"] * 4}}
    assert refused(captions) == (413, "captions has 4 rows, at most 3 are taken")
    captions["inputs"]["captions"].pop()
    assert len(server.answer(path, json.dumps(captions).encode())["outputs"]["word_mask"]) == 3
    rows = {"signature_name": "encode_text", "instances": [{"captions": "a"}] * 4}
    assert refused(rows)[0] == 413
    assert refused(b"[" * 5000 + b"]" * 5000) == (400, "the request is nested too deep")
    assert refused(b"[1]") == (400, "a request is a JSON object")
    deep = json.dumps({"inputs": 1}).encode().replace(b"1", b"[" * 200 + b"]" * 200)
    assert refused(deep)[0] == 400
    server.server_close()
