"""A file of the web is fetched once, resumed, checked by its digest, and only by addresses that are allowed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from model_zoo.cards.weight_source import UrlSource
from model_zoo.errors import DigestMismatch, SourceNotFound, SourceUnavailable
from model_zoo.sources import url as url_source
from model_zoo.sources.download import ExpectedFile, download
from model_zoo.sources.source_table import source_for
from model_zoo.sources.url import MIRROR, TORCHVISION_HOST, fetch_url, size_at
from tests.support.model_zoo.web_files import WebFiles, web_files

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def web() -> Iterator[WebFiles]:
    with web_files() as found:
        found.files["/net.bin"] = CONTENT
        yield found


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_zoo.sources.download.time.sleep", lambda seconds: None)


def source(web: WebFiles, **changes: Any) -> UrlSource:
    file = {"path": "net.bin", "sha256": hashlib.sha256(CONTENT).hexdigest(), "bytes": len(CONTENT)} | changes
    return UrlSource.model_validate({"kind": "url", "url": f"{web.url}/net.bin", "files": {"weights": file}})


def test_file_is_fetched_once_and_removed_when_discarded(web: WebFiles, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    card = source(web)
    found = source_for(card)
    artifact = found.fetch(tmp_path, lambda done, total, what: seen.append((done, total, what)))
    assert found.read(artifact, card.files["weights"]) == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT), "net.bin")
    found.fetch(tmp_path)
    assert len(web.requests) == 1
    found.discard(artifact)
    assert list(tmp_path.iterdir()) == []


def test_broken_transfer_is_resumed(web: WebFiles, tmp_path: Path) -> None:
    web.cut_after = [1000]
    found = source_for(source(web))
    found.fetch(tmp_path)
    assert [asked for _, asked in web.requests] == [None, "bytes=1000-"]


def test_damaged_copy_is_fetched_again(web: WebFiles, tmp_path: Path) -> None:
    found = source_for(source(web))
    artifact = found.fetch(tmp_path)
    (artifact / "net.bin").write_bytes(CONTENT[::-1])
    assert (found.fetch(tmp_path) / "net.bin").read_bytes() == CONTENT


def test_other_content_is_refused_with_both_digests(web: WebFiles, tmp_path: Path) -> None:
    web.files["/net.bin"] = CONTENT[::-1]
    with pytest.raises(DigestMismatch) as refusal:
        source_for(source(web)).fetch(tmp_path)
    assert refusal.value.got == hashlib.sha256(CONTENT[::-1]).hexdigest()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x"], ids=["truncated", "longer"])
def test_other_size_is_refused(web: WebFiles, tmp_path: Path, content: bytes) -> None:
    web.files["/net.bin"] = content
    with pytest.raises(DigestMismatch):
        source_for(source(web)).fetch(tmp_path)


def test_first_digits_are_enough_to_check_and_are_checked(web: WebFiles, tmp_path: Path) -> None:
    digits = hashlib.sha256(CONTENT).hexdigest()[:8]
    fetch_url(f"{web.url}/net.bin", tmp_path, ExpectedFile("net.bin", len(CONTENT), digits))
    with pytest.raises(DigestMismatch):
        fetch_url(f"{web.url}/net.bin", tmp_path / "b", ExpectedFile("net.bin", len(CONTENT), "01234567"))
    with pytest.raises(DigestMismatch):
        fetch_url(f"{web.url}/net.bin", tmp_path / "c", ExpectedFile("net.bin", len(CONTENT), ""))


def test_size_is_asked_without_the_content(web: WebFiles) -> None:
    assert size_at(f"{web.url}/net.bin", "net.bin") == len(CONTENT)
    web.stated["/net.bin"] = None
    with pytest.raises(SourceUnavailable, match="does not say how large it is"):
        size_at(f"{web.url}/net.bin", "net.bin")


def test_stated_size_that_is_a_lie_is_refused(web: WebFiles, tmp_path: Path) -> None:
    web.stated["/net.bin"] = 1000
    size = size_at(f"{web.url}/net.bin", "net.bin")
    digest = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(DigestMismatch):
        fetch_url(f"{web.url}/net.bin", tmp_path, ExpectedFile("net.bin", size, digest))


def test_redirects_are_followed_and_bounded(web: WebFiles, tmp_path: Path) -> None:
    expected = ExpectedFile("net.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    web.moved = {"/a": "/b", "/b": f"{web.url}/net.bin", "/circle": "/circle"}
    fetch_url(f"{web.url}/a", tmp_path / "a", expected)
    with pytest.raises(SourceUnavailable, match="redirects again and again"):
        fetch_url(f"{web.url}/circle", tmp_path / "b", expected)
    assert sum(path == "/circle" for path, _ in web.requests) <= 6


@pytest.mark.parametrize(
    "target", ["http://models.example/x?key=hunter2", "ftp://models.example/hunter2", "file:///etc/hunter2"]
)
def test_redirect_to_another_protocol_is_refused_without_its_address(
    web: WebFiles, tmp_path: Path, target: str
) -> None:
    web.moved["/a"] = target
    with pytest.raises(SourceUnavailable) as refusal:
        fetch_url(f"{web.url}/a", tmp_path, ExpectedFile("net.bin", 5, "0" * 64))
    assert "hunter2" not in str(refusal.value)
    assert "models.example" not in str(refusal.value)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (401, SourceUnavailable, "refuses access"),
        (404, SourceNotFound, "does not have it"),
        (500, SourceUnavailable, "does not answer"),
    ],
)
def test_error_status_is_told(web: WebFiles, tmp_path: Path, status: int, error: type[Exception], message: str) -> None:
    web.statuses["/net.bin"] = status
    with pytest.raises(error, match=message):
        source_for(source(web)).fetch(tmp_path)


def test_huge_header_is_refused(tmp_path: Path, web: WebFiles) -> None:
    web.moved["/a"] = f"{web.url}/" + "x" * 1_000_000
    with pytest.raises(SourceUnavailable):
        fetch_url(f"{web.url}/a", tmp_path, ExpectedFile("net.bin", 5, "0" * 64))


def test_mirror_of_torchvision_is_asked_in_its_place(
    web: WebFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR, f"{web.url}/mirror/")
    web.files["/mirror/models/net.bin"] = CONTENT
    url = f"{TORCHVISION_HOST}models/net.bin"
    fetch_url(url, tmp_path, ExpectedFile("net.bin", size_at(url, "net.bin"), hashlib.sha256(CONTENT).hexdigest()))
    monkeypatch.setenv(MIRROR, "https://ann:hunter2@mirror.example")
    with pytest.raises(SourceUnavailable, match="ZOO_TORCHVISION_URL cannot be used") as refusal:
        size_at(url, "net.bin")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("mirror", ["s3://bucket", "gs://bucket/models", "S3://bucket"])
def test_mirror_of_torchvision_is_no_bucket(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, mirror)
    url = f"{TORCHVISION_HOST}models/net.bin"
    for ask in (
        lambda: size_at(url, "net.bin"),
        lambda: fetch_url(url, tmp_path, ExpectedFile("net.bin", 5, "0" * 64)),
    ):
        with pytest.raises(SourceUnavailable, match=r"ZOO_TORCHVISION_URL cannot be used: expected https://HOST/PATH"):
            ask()


def test_secure_transfer_of_a_plain_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="not https"):
        download("http://models.example/x", tmp_path / "x", ExpectedFile("x", 1, "0" * 64), secure=True)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://models.example/net.bin"},
        {"url": "https://ann:pw@models.example/net.bin"},
        {"files": {}},
        {"files": {"weights": {"path": "../net.bin", "sha256": "0" * 64, "bytes": 1}}},
        {"files": {"weights": {"path": "net.bin", "bytes": 1}}},
    ],
)
def test_card_with_an_unsafe_address_or_without_a_digest_is_refused(web: WebFiles, change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UrlSource.model_validate(source(web).model_dump() | change)


def test_folder_tells_files_of_other_digests_apart() -> None:
    assert url_source.url_folder("https://a/x.bin", "0" * 64) != url_source.url_folder("https://a/x.bin", "1" * 64)
