"""An object of a bucket is fetched in parts, resumed, and checked; a stand-in of S3 on loopback answers the library s3fs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from model_zoo.cards.weight_source import UrlSource
from model_zoo.errors import DigestMismatch, SourceNotFound, SourceUnavailable
from model_zoo.sources import bucket
from model_zoo.sources.bucket import object_size
from model_zoo.sources.source_table import source_for
from tests.support.model_zoo.web_files import WebFiles, web_files

pytest.importorskip("s3fs")
CONTENT = bytes(range(256)) * 40
FILE = {"path": "net.bin", "sha256": hashlib.sha256(CONTENT).hexdigest(), "bytes": len(CONTENT)}
SOURCE = UrlSource.model_validate({"kind": "url", "url": "s3://models/a/net.bin", "files": {"weights": FILE}})


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebFiles]:
    monkeypatch.setattr(bucket, "_CHUNK", 4000)
    monkeypatch.setattr(bucket.time, "sleep", lambda seconds: None)
    with web_files() as found:
        found.files["/models/a/net.bin"] = CONTENT
        settings = {"ENDPOINT_URL": found.url, "ACCESS_KEY_ID": "zoo", "SECRET_ACCESS_KEY": "hunter2"}
        for name, value in {**settings, "DEFAULT_REGION": "us-east-1", "MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield found
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def ranges(storage: WebFiles) -> list[str | None]:
    return [asked for path, asked in storage.requests if path.startswith("/models/a/net.bin") and asked]


def test_object_is_fetched_in_parts_once_and_removed(storage: WebFiles, tmp_path: Path) -> None:
    found, seen = source_for(SOURCE), []
    artifact = found.fetch(tmp_path, lambda done, total, what: seen.append((done, total)))
    assert found.read(artifact, SOURCE.files["weights"]) == CONTENT
    assert ranges(storage) == ["bytes=0-3999", "bytes=4000-7999", "bytes=8000-10239"]
    assert seen == [(4000, 10240), (8000, 10240), (10240, 10240)]
    found.fetch(tmp_path)
    assert len(ranges(storage)) == 3
    found.discard(artifact)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("left", "asked"), [(CONTENT[:8000], 1), (b"x" * 8000, 4), (b"x" * 20_000, 3)])
def test_part_of_an_earlier_fetch_is_continued_or_replaced(
    left: bytes, asked: int, storage: WebFiles, tmp_path: Path
) -> None:
    found = source_for(SOURCE)
    folder = tmp_path / found.key
    folder.mkdir()
    (folder / "net.bin.part").write_bytes(left)
    assert (found.fetch(tmp_path) / "net.bin").read_bytes() == CONTENT
    assert len(ranges(storage)) == asked


def test_other_object_than_on_the_card_is_refused(storage: WebFiles, tmp_path: Path) -> None:
    storage.files["/models/a/net.bin"] = CONTENT[::-1]
    with pytest.raises(DigestMismatch):
        source_for(SOURCE).fetch(tmp_path)
    storage.files["/models/a/net.bin"] = CONTENT + b"x"
    with pytest.raises(SourceUnavailable, match="has 10,241 bytes, and 10,240 are expected"):
        source_for(SOURCE).fetch(tmp_path)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (404, SourceNotFound, "no such object"),
        (403, SourceUnavailable, "refuses access"),
        (501, SourceUnavailable, "does not answer"),
    ],
)
def test_error_of_the_storage_is_told_in_words_of_ours(
    status: int, error: type[Exception], words: str, storage: WebFiles, tmp_path: Path
) -> None:
    storage.statuses["/models/a/net.bin"] = status
    with pytest.raises(error, match=words) as raised:
        source_for(SOURCE).fetch(tmp_path)
    assert "127.0.0.1" not in str(raised.value)


def test_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        return None if name == "gcsfs" else object()

    monkeypatch.setattr(bucket, "find_spec", absent)
    with pytest.raises(SourceUnavailable, match=r"gs:// needs the package gcsfs; `pip install gcsfs`"):
        object_size("gs://models/net.bin", "net.bin")
