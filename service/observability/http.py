"""The HTTP port: `/metrics` for Prometheus; `/livez`, `/readyz` and `/healthz` for probes. Serves no other path.

It runs on the standard library, in threads of its own, so that probes are answered while the event loop is busy. uvicorn would
add packages without what is needed here: it has no timeout for the headers of a request, and one TLS context for its life.
"""

from __future__ import annotations

import json
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from service.errors import PermissionDenied, RateLimited, Unauthenticated, ZooError
from service.observability.exposition import Exposition
from service.observability.http_server import CERTIFIED, CHECK_INTERVAL_S, BoundedServer, BoundedServer6
from service.observability.log import logger

log = logger(__name__)

TEXT = "text/plain; charset=utf-8"
METHODS = ("GET", "HEAD")
PROBES = ("/livez", "/readyz", "/healthz")
Header = tuple[str, str]
Answer = tuple[str, list[Header], bytes]
"""Status, headers, body."""


Authorize = Callable[[str | None, str], ZooError | None]
"""Gets the value of the header `Authorization`, if there is one, and the client as gRPC names peers; says why it may not read the
metrics, or gives None. Called on the thread of a connection, several at once."""


def anyone(authorization: str | None, peer: str) -> None:
    """Lets everyone read the metrics."""


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """How clients reach the port, and who may read what. Probes are open to all."""

    context: Callable[[], ssl.SSLContext] | None = None
    """TLS of a connection that begins; None for plain HTTP."""
    certificate_required: bool = False
    """Whether the metrics need a client certificate. Probes do not: the kubelet has none to show."""
    metrics: bool = True
    """Whether there is a page of metrics."""
    authorize: Authorize = anyone
    """Asked before the metrics are read."""


class HttpPort:
    """Serves between `start` and `stop`. `health` returns (live, ready)."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        health: Callable[[], tuple[bool, bool]],
        access: HttpAccess | None = None,
        encode_protobuf: Callable[[Collector], bytes] | None = None,
    ) -> None:
        """Binds at once, so that a port in use is reported before models load. Raises OSError or UnicodeError.

        `encode_protobuf`: see Exposition.
        """
        self._health = health
        self._access = access or HttpAccess()
        self._metrics = Exposition(registry, encode_protobuf)
        self._server = _family(host)((host, port), self._access.context)
        self._server.set_app(self._respond)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": CHECK_INTERVAL_S}, name="http", daemon=True
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
        served = (*(("/metrics",) if self._access.metrics else ()), *PROBES)
        if path not in served:
            return _plain(HTTPStatus.NOT_FOUND, f"This port serves {', '.join(served[:-1])} and {served[-1]}.")
        if environ.get("REQUEST_METHOD") not in METHODS:
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes GET and HEAD.", ("Allow", ", ".join(METHODS)))
        if path == "/metrics":
            return self._refusal(environ) or self._metrics.page(environ)
        live, ready = self._health()
        if path == "/livez":
            return _probe(live, "live")
        if path == "/readyz":
            return _probe(ready, "ready")
        body = json.dumps({"live": live, "ready": ready}, allow_nan=False).encode() + b"\n"
        status = _line(HTTPStatus.OK if live else HTTPStatus.SERVICE_UNAVAILABLE)
        return status, [("Content-Type", "application/json")], body

    def _refusal(self, environ: dict[str, Any]) -> Answer | None:
        """The answer to a client that may not read the metrics; None if it may."""
        if self._access.certificate_required and not environ.get(CERTIFIED):
            return _plain(HTTPStatus.FORBIDDEN, "/metrics needs a client certificate.")
        peer = _peer(environ.get("REMOTE_ADDR", ""))
        match self._access.authorize(environ.get("HTTP_AUTHORIZATION"), peer):
            case None:
                return None
            case Unauthenticated() as error:
                return _plain(HTTPStatus.UNAUTHORIZED, error.message, ("WWW-Authenticate", "Bearer"))
            case RateLimited() as error:
                wait = ("Retry-After", str(math.ceil(error.retry_after_s or 0.0)))
                return _plain(HTTPStatus.TOO_MANY_REQUESTS, error.message, wait)
            case PermissionDenied() as error:
                return _plain(HTTPStatus.FORBIDDEN, error.message)
            case error:  # what tokens are checked with does not answer
                return _plain(HTTPStatus.SERVICE_UNAVAILABLE, error.message)


def _plain(status: HTTPStatus, sentence: str, *headers: Header) -> Answer:
    return _line(status), [("Content-Type", TEXT), *headers], sentence.encode() + b"\n"


def _peer(address: str) -> str:
    """An address as gRPC names a peer, without its port."""
    return f"ipv6:[{address}]:0" if ":" in address else f"ipv4:{address}:0"


def _probe(passed: bool, word: str) -> Answer:
    if passed:
        return _plain(HTTPStatus.OK, word)
    return _plain(HTTPStatus.SERVICE_UNAVAILABLE, f"not {word}")


def _line(status: HTTPStatus) -> str:
    return f"{status.value} {status.phrase}"


def _family(host: str) -> type[BoundedServer]:
    """IPv4 if the name has an IPv4 address, else IPv6. Raises OSError or UnicodeError for an unknown name."""
    families = {found[0] for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return BoundedServer if socket.AF_INET in families else BoundedServer6
