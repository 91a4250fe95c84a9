"""The HTTP port: `/metrics` for Prometheus and `/healthz` for probes. Runs in a thread of its own; serves no other path."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from service.observability.exposition import Exposition
from service.observability.log import logger

log = logger(__name__)

TEXT = "text/plain; charset=utf-8"
METHODS = ("GET", "HEAD")
STOP_POLL_S = 0.05
"""How often the thread looks whether the server stops: a stop waits so long at most."""
Header = tuple[str, str]
Answer = tuple[str, list[Header], bytes]
"""Status, headers, body."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 16

    def server_bind(self) -> None:
        """Like the base class, without the reverse lookup of the address, which may take seconds."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0
            )  # `::` accepts IPv4 as well, as it does for gRPC
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects or times out is logged at debug level only. Errors of the server are answered with 500."""
        log.debug("http connection lost", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10.0  # seconds; an idle connection does not keep a thread

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        log.debug("http", line=format % args)


class HttpPort:
    """Serves between `start` and `stop`. `health` returns (live, ready)."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        health: Callable[[], tuple[bool, bool]],
        encode_protobuf: Callable[[Collector], bytes] | None = None,
    ) -> None:
        """Binds at once, so that a port in use is reported before models load. Raises OSError or UnicodeError.

        `encode_protobuf`: see Exposition.
        """
        self._health = health
        self._metrics = Exposition(registry, encode_protobuf)
        self._server = make_server(host, port, self._respond, _family(host), _Handler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": STOP_POLL_S}, name="http", daemon=True
        )

    def start(self) -> None:
        """Starts to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering and closes the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def _respond(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            status, headers, body = self._answer(environ)
        except Exception:
            log.exception("a page could not be made", path=environ.get("PATH_INFO", "")[:64])
            status, headers, body = _plain(HTTPStatus.INTERNAL_SERVER_ERROR, "The server's log has the details.")
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path = environ.get("PATH_INFO", "")
        if path not in ("/metrics", "/healthz"):
            return _plain(HTTPStatus.NOT_FOUND, "This port serves /metrics and /healthz.")
        if environ.get("REQUEST_METHOD") not in METHODS:
            status, headers, body = _plain(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes GET and HEAD.")
            return status, [*headers, ("Allow", ", ".join(METHODS))], body
        if path == "/metrics":
            return self._metrics.page(environ)
        live, ready = self._health()
        body = json.dumps({"live": live, "ready": ready}, allow_nan=False).encode() + b"\n"
        status = _line(HTTPStatus.OK if live else HTTPStatus.SERVICE_UNAVAILABLE)
        return status, [("Content-Type", "application/json")], body


def _plain(status: HTTPStatus, sentence: str) -> Answer:
    return _line(status), [("Content-Type", TEXT)], sentence.encode() + b"\n"


def _line(status: HTTPStatus) -> str:
    return f"{status.value} {status.phrase}"


def _family(host: str) -> type[_Server]:
    """IPv4 if the name has an IPv4 address, else IPv6. Raises OSError or UnicodeError for an unknown name."""
    families = {found[0] for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return _Server if socket.AF_INET in families else _Server6
