"""A web server on loopback with files, which can fail on purpose."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass
class WebFiles:
    """Files by path, and how they are given.

    Attributes:
        moved: path → the address to which a request for it is sent.
        statuses: path → a status in place of the file.
        stated: path → the Content-Length that is stated in place of the true one; None for none.
        cut_after: bytes after which the n-th answer with a file breaks off; later answers are complete.
        requests: path and Range of every request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    stated: dict[str, int | None] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path, asked = handler.path, handler.headers.get("Range")
        self.requests.append((path, asked))
        handler.close_connection = True
        if path in self.moved:
            handler.send_response(HTTPStatus.FOUND)
            handler.send_header("Location", self.moved[path])
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        content = self.files.get(path)
        status = self.statuses.get(path, HTTPStatus.OK if content is not None else HTTPStatus.NOT_FOUND)
        if status != HTTPStatus.OK or content is None:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        first, _, last = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
        start, content = int(first), content[: int(last) + 1] if last else content
        handler.send_response(HTTPStatus.PARTIAL_CONTENT if start or last else HTTPStatus.OK)
        handler.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        if start or last:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(self.files[path])}")
        if (length := self.stated.get(path, len(content) - start)) is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        cut = self.cut_after.pop(0) if self.cut_after and handler.command == "GET" else None
        if handler.command == "GET":
            handler.wfile.write(content[start:][:cut])


@contextmanager
def web_files() -> Iterator[WebFiles]:
    """A server with no files yet."""
    served = WebFiles()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):  # a caller that wants the size alone reads no content
                served.answer(self)

        def do_HEAD(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
