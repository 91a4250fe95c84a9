"""Downloads over an unreliable network are resumed, and only the expected bytes are accepted."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from model_zoo.errors import DigestMismatch, SourceUnavailable
from model_zoo.sources.download import ExpectedFile, download, small_file
from tests.support.model_zoo.local_index import Index


@pytest.fixture
def expected(located: Index) -> ExpectedFile:
    return ExpectedFile("tiny.whl", len(located.wheel), hashlib.sha256(located.wheel).hexdigest())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "tiny.whl"


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_download_stores_the_file_and_reports_progress(located: Index, expected: ExpectedFile, target: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    download(located.wheel_url, target, expected, lambda done, total, what: seen.append((done, total, what)))
    assert target.read_bytes() == located.wheel
    assert not part_of(target).exists()
    assert seen[-1] == (expected.size, expected.size, "tiny.whl")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_download_resumes_a_truncated_part(located: Index, expected: ExpectedFile, target: Path) -> None:
    part_of(target).write_bytes(located.wheel[:1000])
    download(located.wheel_url, target, expected)
    assert target.read_bytes() == located.wheel
    assert [(asked, status) for _, asked, status in located.log] == [("bytes=1000-", 206)]


def test_download_resumes_after_a_broken_connection(located: Index, expected: ExpectedFile, target: Path) -> None:
    located.cut_after = [700, 900]
    pauses: list[float] = []
    download(located.wheel_url, target, expected, sleep=pauses.append)
    assert target.read_bytes() == located.wheel
    assert [asked for _, asked, _ in located.log] == [None, "bytes=700-", "bytes=1600-"]
    assert len(pauses) == 2


def test_download_restarts_if_the_server_has_no_ranges(located: Index, expected: ExpectedFile, target: Path) -> None:
    located.ranges = False
    part_of(target).write_bytes(located.wheel[:1000])
    download(located.wheel_url, target, expected)
    assert target.read_bytes() == located.wheel


def test_download_of_a_complete_part_makes_no_request(located: Index, expected: ExpectedFile, target: Path) -> None:
    part_of(target).write_bytes(located.wheel)
    download(located.wheel_url, target, expected)
    assert target.read_bytes() == located.wheel
    assert located.log == []


@pytest.mark.parametrize("remnant", [b"x" * 1000, b"x" * 10_000_000], ids=["foreign", "too long"])
def test_download_replaces_a_part_of_another_file(
    located: Index, expected: ExpectedFile, target: Path, remnant: bytes
) -> None:
    part_of(target).write_bytes(remnant)
    download(located.wheel_url, target, expected)
    assert target.read_bytes() == located.wheel


def test_download_with_another_digest_is_rejected_and_removed(
    located: Index, expected: ExpectedFile, target: Path
) -> None:
    promised = hashlib.sha256(located.wheel).hexdigest()
    located.wheel = bytes(reversed(located.wheel))
    with pytest.raises(DigestMismatch, match=r"tiny\.whl has sha256") as refusal:
        download(located.wheel_url, target, expected)
    assert (refusal.value.expected, refusal.value.got) == (promised, hashlib.sha256(located.wheel).hexdigest())
    assert list(target.parent.iterdir()) == []


def test_download_of_a_shorter_file_is_rejected_without_retry(
    located: Index, expected: ExpectedFile, target: Path
) -> None:
    located.wheel = located.wheel[:2000]
    with pytest.raises(DigestMismatch):
        download(located.wheel_url, target, expected)
    assert len(located.log) == 1
    assert list(target.parent.iterdir()) == []


def test_download_of_an_endless_answer_is_cut_off(located: Index, expected: ExpectedFile, target: Path) -> None:
    located.wheel = b"\0" * 50_000_000
    seen: list[int] = []
    with pytest.raises(DigestMismatch):
        download(located.wheel_url, target, expected, lambda done, total, what: seen.append(done))
    assert seen[-1] == expected.size
    assert seen[-2] < expected.size
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "requests", "message"),
    [(404, 1, "does not have it"), (403, 1, "refuses access"), (418, 1, "status 418"), (503, 4, "does not answer")],
)
def test_download_retries_transient_error_statuses_only(
    located: Index, expected: ExpectedFile, target: Path, status: int, requests: int, message: str
) -> None:
    located.status = status
    with pytest.raises(SourceUnavailable, match=message):
        download(located.wheel_url, target, expected, sleep=lambda seconds: None)
    assert len(located.log) == requests
    assert not target.exists()


def test_download_without_network_fails_and_keeps_the_part(expected: ExpectedFile, target: Path) -> None:
    part_of(target).write_bytes(b"first bytes")
    with pytest.raises(SourceUnavailable, match=r"cannot fetch tiny\.whl: 127\.0\.0\.1 does not answer"):
        download("http://127.0.0.1:1/tiny.whl", target, expected, sleep=lambda seconds: None)
    assert part_of(target).read_bytes() == b"first bytes"


def test_download_from_a_local_index_copies_the_file(
    located: Index, expected: ExpectedFile, target: Path, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror folder"
    mirror.mkdir()
    (mirror / "tiny.whl").write_bytes(located.wheel)
    download((mirror / "tiny.whl").as_uri(), target, expected)
    assert target.read_bytes() == located.wheel
    with pytest.raises(SourceUnavailable, match="local index") as refusal:
        download((mirror / "gone.whl").as_uri(), target, expected)
    assert str(tmp_path) not in str(refusal.value)


class Cut(httpx.SyncByteStream):
    """Bytes after which the connection breaks."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("cut")


class Drops(httpx.SyncByteStream):
    """One byte at a time, without end."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"x"


def answered_by(monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]) -> None:
    monkeypatch.setattr("httpx._client.HTTPTransport", lambda *_, **__: httpx.MockTransport(answer))


@pytest.mark.parametrize("step", [1, 0])
@pytest.mark.timeout(30)
def test_download_that_never_gets_further_is_given_up(step: int, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(wanted := request.headers.get("Range"))
        assert len(asked) < 50
        if wanted and step == 0:
            return httpx.Response(416)
        start = int(wanted[6:-1]) if wanted else 0
        headers = {"Content-Range": f"bytes {start}-999999/1000000"}
        return httpx.Response(206 if wanted else 200, headers=headers, stream=Cut(b"x"))

    answered_by(monkeypatch, answer)
    with pytest.raises(SourceUnavailable, match="does not answer"):
        download("https://a.example/x", target, ExpectedFile("x", 10**6, "0" * 64), sleep=lambda seconds: None)


@pytest.mark.timeout(30)
def test_download_in_too_many_pieces_is_given_up(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(wanted := request.headers.get("Range"))
        start = int(wanted[6:-1]) if wanted else 0
        headers = {"Content-Range": f"bytes {start}-99999999/100000000"}
        return httpx.Response(206 if wanted else 200, headers=headers, stream=Cut(b"x" * 20_000))

    answered_by(monkeypatch, answer)
    monkeypatch.setattr("model_zoo.sources.download._MOST_ATTEMPTS", 20)
    with pytest.raises(SourceUnavailable, match="does not answer"):
        download("https://a.example/x", target, ExpectedFile("x", 10**8, "0" * 64), sleep=lambda seconds: None)
    assert len(asked) == 20
    assert part_of(target).stat().st_size == 400_000, "the next one goes on from there"


@pytest.mark.timeout(30)
def test_answer_that_only_drips_is_given_up(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(step=10.0)
    monkeypatch.setattr("model_zoo.sources.download._now", lambda: next(seconds))
    answered_by(monkeypatch, lambda request: httpx.Response(200, stream=Drops()))
    slow = "less than 1024 bytes a second"
    with pytest.raises(SourceUnavailable, match=slow):
        download("https://a.example/x", target, ExpectedFile("x", 10**9, "0" * 64), sleep=lambda seconds: None)
    with pytest.raises(SourceUnavailable, match=slow):
        small_file("https://a.example/x", "x", 10**9, secure=False, sleep=lambda seconds: None)


def test_proxy_is_not_asked_for_an_address_of_this_machine(
    located: Index, expected: ExpectedFile, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    download(located.wheel_url, target, expected, sleep=lambda seconds: None)
    assert target.read_bytes() == located.wheel
