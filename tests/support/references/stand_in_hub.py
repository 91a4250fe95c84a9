"""A model hub on loopback: the two methods of the real one that a pull needs, over folders of this machine.

https://huggingface.co/docs/hub/api: `/api/models/NAME[/revision/REV]` lists files, `/NAME/resolve/REV/FILE` gives one.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class HostedRepository:
    """A folder as a repository. `revisions`: further names of commits beside `main`."""

    folder: Path
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    gated: bool = False
    card: dict[str, Any] = field(default_factory=dict)


@dataclass
class StandInHub:
    """Repositories by name, and what was asked for."""

    url: str = ""
    repositories: dict[str, HostedRepository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    sends_parts: bool = True
    """Whether a part of a file can be asked for."""
    answering: threading.Event = field(default_factory=threading.Event)
    """Set; while it is not, every request waits."""


@contextmanager
def stand_in_hub() -> Iterator[StandInHub]:
    hub = StandInHub()
    hub.answering.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: StandInHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            hub.answering.wait()
            if authorization := self.headers.get("Authorization"):
                hub.tokens.add(authorization)
            if path.startswith("/api/models/"):
                name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
                self._list(name, revision or "main")
            elif "/resolve/" in path:
                name, _, rest = path.strip("/").partition("/resolve/")
                revision, _, file = rest.partition("/")
                self._file(name, revision, file, body)
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "EntryNotFound")

        def _repository(self, name: str, revision: str) -> HostedRepository | None:
            found = hub.repositories.get(name)
            if found is None:
                self._refuse(HTTPStatus.NOT_FOUND, "RepoNotFound")
            elif revision not in ("main", found.commit):
                self._refuse(HTTPStatus.NOT_FOUND, "RevisionNotFound")
            elif found.gated and "Authorization" not in self.headers:
                self._refuse(HTTPStatus.FORBIDDEN, "GatedRepo")
            else:
                return found
            return None

        def _list(self, name: str, revision: str) -> None:
            found = self._repository(name, revision)
            if found is None:
                return
            siblings = []
            for path in sorted(found.folder.rglob("*")):
                if path.is_file():
                    size = path.stat().st_size
                    siblings.append(
                        {"rfilename": path.relative_to(found.folder).as_posix(), "size": size, "blobId": "0" * 40}
                    )
            self._json(
                {
                    "_id": "0",
                    "id": name,
                    "sha": found.commit,
                    "siblings": siblings,
                    "cardData": found.card,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                    "private": False,
                    "gated": False,
                }
            )

        def _file(self, name: str, revision: str, file: str, body: bool) -> None:
            found = self._repository(name, revision)
            if found is None:
                return
            path = found.folder / file
            if not path.is_file():
                self._refuse(HTTPStatus.NOT_FOUND, "EntryNotFound", found.commit)
                return
            content = path.read_bytes()
            wanted = self.headers.get("Range") if hub.sends_parts else None
            first, _, last = (wanted or "bytes=0-").removeprefix("bytes=").partition("-")
            start = int(first)
            part = content[start : int(last) + 1 if last else None]
            partial = len(part) < len(content)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", found.commit)
            self.send_header("Accept-Ranges", "bytes")
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
            self.end_headers()
            if body:
                self.wfile.write(part)

        def _json(self, document: dict[str, Any]) -> None:
            content = json.dumps(document).encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _refuse(self, status: HTTPStatus, code: str, commit: str = "") -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            if commit:
                self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler
