"""A small HTTP server: one thread and one request for each connection, with bounds on their number, time and size.

A client that connects and stays silent, sends a byte now and then, or does not read, loses its connection. While all
connections are in use, a new one takes the place of the oldest whose request has not arrived, so that slow clients do not keep
a probe out.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from service.observability.log import logger

log = logger(__name__)

MAX_CONNECTIONS = 64
"""At once; each has a thread. A probe and a few scrapers need a handful."""
HEAD_TIMEOUT_S = 10.0
"""From the connection to the last header, TLS handshake included."""
ANSWER_TIMEOUT_S = 30.0
"""For the answer after that; also the time that a page may take to be read."""
MAX_HEAD_BYTES = 16 * 1024
"""Of request line and headers together."""
MOST_UNREAD = 16
"""How often MAX_HEAD_BYTES of a request that was refused are read and dropped."""
CHECK_INTERVAL_S = 0.05
"""How often the server looks for connections whose time is up, and whether it stops: a stop waits so long at most."""
CERTIFIED = "zoo.client_certificate"
"""Key of the WSGI environment: whether the client has shown a certificate of one of the trusted CAs."""

_PAGE = re.compile(r"/[a-z]{0,16}")
"""Path of a page, as this port could serve it; too short and too plain for a token."""
_TLS_HANDSHAKE = b"\x16"
"""First byte of a connection that begins with TLS."""
_NOT_TLS = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThis port speaks HTTPS.\n"


class _Connection:
    """One connection: its socket and when its time is up. Its own thread and the server's share it."""

    def __init__(self, raw: socket.socket, now: float) -> None:
        self.socket = raw
        self.waiting = True
        """Whether its request has not arrived yet."""
        self.deadline = now + HEAD_TIMEOUT_S
        self._lock = threading.Lock()
        self._closed = False

    def secure(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """The socket under TLS, before its handshake."""
        with self._lock:
            secured = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
            self.socket = secured
        return secured

    def cut(self) -> None:
        """Ends whatever its thread waits for. The thread then closes it."""
        with self._lock:
            if not self._closed:
                with suppress(OSError):  # the client has left
                    socket.socket.shutdown(self.socket, socket.SHUT_RDWR)  # of the connection below TLS

    def close(self) -> None:
        """Closes the socket. Afterwards the number of its descriptor may belong to another file, so `cut` does nothing."""
        with self._lock:
            self._closed = True
        with suppress(OSError, ValueError):
            if isinstance(self.socket, ssl.SSLSocket):
                self.socket.settimeout(0)  # says goodbye and does not wait for the client's
                self.socket.unwrap()
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            self.socket.settimeout(0)
            for _ in range(MOST_UNREAD):  # what is left unread makes the kernel reset the connection, answer and all
                if not socket.socket.recv(self.socket, MAX_HEAD_BYTES):
                    break
        self.socket.close()


class BoundedServer(WSGIServer):
    """Serves a WSGI application. IPv4."""

    request_queue_size = 64

    def __init__(self, address: tuple[str, int], context: Callable[[], ssl.SSLContext] | None = None) -> None:
        """Binds at once. `context` gives the TLS of a connection that begins; without it the server speaks plain HTTP.
        Raises OSError."""
        self._context = context
        self._connections: dict[_Connection, None] = {}  # an ordered set, the oldest first
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    # ── on the server's thread ──────────────────────────────────────────────────────────────────────────────────

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

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection."""
        try:
            return super().get_request()
        except OSError:  # no descriptors are left; the connection waits, and so must this thread
            time.sleep(CHECK_INTERVAL_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own, if there is room."""
        with self._lock:
            if len(self._connections) >= MAX_CONNECTIONS:
                oldest = next((found for found in self._connections if found.waiting), None)
                if oldest is None:
                    request.close()
                    return
                self._connections.pop(oldest)
                oldest.cut()
            connection = _Connection(request, time.monotonic())
            self._connections[connection] = None
        request.settimeout(HEAD_TIMEOUT_S)
        thread = threading.Thread(target=self._serve, args=(connection, client_address), name="http-connection")
        thread.daemon = True
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            self._end(connection)

    def service_actions(self) -> None:
        """Ends the connections whose time is up. Called after each connection, and every CHECK_INTERVAL_S."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection in self._connections if connection.deadline <= now]
        for connection in late:
            connection.cut()

    # ── on the thread of a connection ───────────────────────────────────────────────────────────────────────────

    def _serve(self, connection: _Connection, client_address: Any) -> None:
        try:
            if self._context is None or self._begin_tls(connection, self._context()):
                _Handler(connection.socket, client_address, self)
        except Exception:  # a client that left, or is too slow; errors of the application are answered with 500
            log.debug("http connection lost", exc_info=True)
        finally:
            self._end(connection)

    def _begin_tls(self, connection: _Connection, context: ssl.SSLContext) -> bool:
        """Whether the client speaks TLS."""
        if connection.socket.recv(1, socket.MSG_PEEK) != _TLS_HANDSHAKE:
            connection.socket.sendall(_NOT_TLS)
            return False
        connection.secure(context).do_handshake()
        return True

    def _end(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.pop(connection, None)
        connection.close()

    def arrived(self, raw: socket.socket) -> None:
        """The request of a connection has arrived; its answer gets a time of its own."""
        with self._lock:
            for connection in self._connections:
                if connection.socket is raw:
                    connection.waiting = False
                    connection.deadline = time.monotonic() + ANSWER_TIMEOUT_S


class BoundedServer6(BoundedServer):
    """The same on IPv6."""

    address_family = socket.AF_INET6


class _HeadTooLarge(Exception):
    """Request line and headers have more than MAX_HEAD_BYTES."""


class _Head:
    """Reads lines up to a number of bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = MAX_HEAD_BYTES

    def readline(self, size: int) -> bytes:
        """The next line. Raises _HeadTooLarge."""
        line: bytes = self._file.readline(min(size, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise _HeadTooLarge
        return line


class _Answer(ServerHandler):
    """Writes an answer. The versions of Python and of this module are nobody's business."""

    server_software = ""

    def log_exception(self, exc_info: Any) -> None:
        """The client has left, or is too slow."""
        log.debug("http connection lost", exc_info=exc_info)


class _Handler(WSGIRequestHandler):
    """One request: its head is read within bounds, its body never."""

    server: BoundedServer
    error_content_type, error_message_format = "text/plain", "%(message)s.\n"

    def handle(self) -> None:
        """Answers the request."""
        reader, self.rfile = self.rfile, _Head(self.rfile)  # type: ignore[assignment]
        self.requestline = self.request_version = self.command = self.path = ""  # for an error before they are known
        try:
            self.raw_requestline = self.rfile.readline(MAX_HEAD_BYTES + 1)
            complete = self.parse_request()
        except _HeadTooLarge:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        finally:
            self.rfile = reader
        if not complete:  # an error has been sent
            return
        self.server.arrived(self.connection)
        self.connection.settimeout(ANSWER_TIMEOUT_S)
        environment = self.get_environ() | {CERTIFIED: self._has_certificate()}
        body: Any = self.rfile
        output: Any = self.wfile  # files, which the stubs take for another kind
        answer = _Answer(body, output, self.get_stderr(), environment, multithread=True)
        answer.request_handler = self  # type: ignore[attr-defined]
        answer.run(self.server.get_app())  # type: ignore[arg-type]

    def _has_certificate(self) -> bool:
        return isinstance(self.connection, ssl.SSLSocket) and bool(self.connection.getpeercert(binary_form=True))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """An error in the words of HTTP, which repeat nothing of the request."""
        if self.request_version in ("", "HTTP/0.9"):  # not known yet; an answer of HTTP/0.9 would have no status
            self.request_version = "HTTP/1.0"
        super().send_error(code, HTTPStatus(code).phrase)

    def version_string(self) -> str:
        """The header `Server` of an error."""
        return "zoo"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """At debug level. Of the request's line only what names a page is shown: someone may have put a token into the rest."""
        path = self.path.partition("?")[0]
        log.debug(
            "http",
            method=self.command if self.command in ("GET", "HEAD") else "another",
            path=path if _PAGE.fullmatch(path) else "another",
            status=str(code.value if isinstance(code, HTTPStatus) else code),
            size=str(size),
        )

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """At debug level."""
        log.debug("http", line=format % args)
