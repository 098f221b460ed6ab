"""An HTTP server that no request and no client can make grow without bound."""

import json
import logging
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

logger = logging.getLogger("hslm_tf")

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class RequestError(ValueError):
    """A request that has no answer.

    Args:
        code: HTTP status.
        message: what is wrong.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Limits:
    """What a server accepts.

    Args:
        body_bytes: largest body of a request.
        rows: most images or captions of a request.
        connections: most connections at a time.
        seconds: how long a client may take to send the next part of a request.
    """

    body_bytes: int = 256 << 20
    rows: int = 1024
    connections: int = 64
    seconds: float = 30.0


class BoundedServer(ThreadingHTTPServer):
    """Answers with JSON; beyond its limits with status 400, 408, 411, 413 or 503.

    Args:
        port: port on the loopback interface; 0 for any free one.
        limits: what is accepted.
    """

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, limits: Limits) -> None:
        self.limits = limits
        self._free = threading.BoundedSemaphore(limits.connections)
        super().__init__(("127.0.0.1", port), _Handler)

    def answer(self, path: str, body: bytes | None) -> dict[str, Any]:
        """Answers a request.

        Args:
            path: path of the URL.
            body: what was sent; None in a GET request.

        Returns:
            The answer, ready for JSON.

        Raises:
            RequestError: if the request cannot be answered.
        """
        raise NotImplementedError

    def process_request(self, request: socket, client_address: Any) -> None:
        """Gives a connection a thread, where one is free."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        try:
            request.settimeout(1)
            request.sendall(_BUSY)
        except OSError:
            logger.debug("a client left before it was told that all connections are taken")
        self.shutdown_request(request)

    def process_request_thread(self, request: socket, client_address: Any) -> None:
        """Serves a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.timeout = self.server.limits.seconds
        super().setup()

    def do_GET(self) -> None:
        self._reply(lambda: None)

    def do_POST(self) -> None:
        self._reply(self._body)

    def _body(self) -> bytes:
        """Reads what was sent, if it is not too much."""
        given, limit = self.headers.get("Content-Length"), self.server.limits.body_bytes
        if given is None:
            raise RequestError(411, "a request with a body needs its Content-Length")
        if not (given.isascii() and given.isdigit()):
            raise RequestError(400, f"Content-Length is {given[:40]!r}, expected a number of bytes")
        # Twenty digits are more than any body has, and int() takes no time for them.
        if len(given) > 20 or int(given) > limit:
            raise RequestError(413, f"the body has {given[:40]} bytes, at most {limit} are taken")
        try:
            body = self.rfile.read(int(given))
        except TimeoutError as error:
            raise RequestError(408, "the body did not come in time") from error
        if len(body) < int(given):
            raise RequestError(400, f"the body has {len(body)} bytes, Content-Length says {given}")
        return body

    def _reply(self, body: Any) -> None:
        try:
            code, answer = 200, self.server.answer(self.path, body())
        except RequestError as error:
            code, answer = error.code, {"error": str(error)}
            # The rest of a body that was not read must not be taken for the next request.
            self.close_connection = self.close_connection or code in (400, 408, 411, 413)
        except Exception as error:
            logger.exception("%s failed", self.path)
            code, answer = 500, {"error": repr(error)}
        payload = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, message: str, *values: object) -> None:
        logger.debug(message, *values)
