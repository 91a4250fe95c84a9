"""Downloads over an unreliable network are resumed, and only the expected bytes are accepted."""

import hashlib
from pathlib import Path

import pytest

from model_zoo.errors import DigestMismatch, SourceUnavailable
from model_zoo.sources.download import ExpectedFile, download
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
