"""The HTTP port: `/metrics` for Prometheus, `/healthz` for probes. Its own thread; serves two paths and nothing else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from service.observability.log import logger

log = logger(__name__)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 16

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up, or says nothing in time, is no news for the operator. Our own errors are answered with 500."""
        log.debug("http connection lost", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10.0  # a client that opens a connection and says nothing does not keep a thread

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        log.debug("http", line=format % args)


class HttpPort:
    """Serves while started. `health` gives (live, ready) when it is asked."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, health: Callable[[], tuple[bool, bool]]
    ) -> None:
        """Binds at once, so that a port in use is known before models load. Raises OSError."""
        self._health = health
        self._metrics = make_wsgi_app(registry)
        self._server = make_server(host, port, self._answer, _Server6 if ":" in host else _Server, _Handler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering and closes the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            page: Iterable[bytes] = self._metrics(environ, start_response)
            return page
        if path == "/healthz":
            live, ready = self._health()
            body = json.dumps({"live": live, "ready": ready}).encode() + b"\n"
            start_response("200 OK" if live else "503 Service Unavailable", [("Content-Type", "application/json")])
            return [body]
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"This port serves /metrics and /healthz.\n"]
