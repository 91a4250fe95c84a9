"""A repository of a hub is read at one commit; every refusal of the hub has words of ours."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from model_zoo.cards.weight_source import HubSource, SourceFile
from model_zoo.errors import NotDerivable, SourceUnavailable
from model_zoo.references.hub import HubRepository
from model_zoo.sources.digest import sha256_of_file
from model_zoo.sources.hub import HubRepositoryFiles, fetch_start
from tests.support.references.stand_in_hub import HostedRepository, StandInHub, stand_in_hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    folder = tmp_path / "hosted"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "sub" / "weights.bin").write_bytes(bytes(range(200)))
    with stand_in_hub() as found:
        found.repositories["org/name"] = HostedRepository(folder, card={"license": "mit", "pipeline_tag": "fill-mask"})
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield found


def message(repository: HubRepository) -> str:
    with pytest.raises(SourceUnavailable) as raised:
        _ = repository.files
    text = str(raised.value)
    assert "http" not in text, "no address of the hub"
    assert "Request ID" not in text
    return text


def test_repository_lists_its_files_at_a_commit(hub: StandInHub) -> None:
    repository = HubRepository("org/name")
    assert {path: file.size for path, file in repository.files.items()} == {"config.json": 8, "sub/weights.bin": 200}
    assert repository.commit == hub.repositories["org/name"].commit
    assert repository.licence == "mit"
    assert repository.read("config.json") == b'{"a": 1}'
    assert f"GET /org/name/resolve/{repository.commit}/config.json" in hub.requests, "at the commit, not at a branch"


@pytest.mark.parametrize("parts", [True, False])
def test_start_of_a_file_is_read_without_the_rest(hub: StandInHub, parts: bool) -> None:
    hub.sends_parts = parts
    assert HubRepository("org/name").start("sub/weights.bin", 8) == bytes(range(8))
    with pytest.raises(SourceUnavailable, match="no such file"):
        HubRepository("org/name").start("other.bin", 8)


class Slow(httpx.SyncByteStream):
    """An answer that never comes to its end."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"x"


@pytest.mark.timeout(20)
def test_start_of_a_file_is_bounded_in_time_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[httpx.Request] = []
    answers = [
        httpx.Response(206, content=iter([b"12345678"])),
        httpx.Response(200, content=iter([gzip.compress(bytes(1 << 20))]), headers={"Content-Encoding": "gzip"}),
        httpx.Response(200, stream=Slow()),
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answers[len(asked) - 1]

    client = httpx.Client(transport=httpx.MockTransport(answer), timeout=None)  # as that of the library
    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: client)
    assert fetch_start("org/name", "0" * 40, "a.bin", 8) == b"12345678"
    assert asked[0].headers["Accept-Encoding"] == "identity"
    assert asked[0].extensions["timeout"]["read"] == 60.0
    with pytest.raises(SourceUnavailable, match="compresses it"):
        fetch_start("org/name", "0" * 40, "a.bin", 8)
    monkeypatch.setattr("model_zoo.sources.hub._LONGEST_START_S", 0.2)
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        fetch_start("org/name", "0" * 40, "a.bin", 1 << 40)


def test_revision_can_be_named(hub: StandInHub) -> None:
    commit = hub.repositories["org/name"].commit
    assert HubRepository("org/name", commit).commit == commit
    assert "no such branch, tag or commit" in message(HubRepository("org/name", "v2"))


def test_refusals_say_what_to_do(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such repository" in message(HubRepository("org/other"))
    hub.repositories["org/name"].gated = True
    assert "HF_TOKEN" in message(HubRepository("org/name"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert HubRepository("org/name").files
    assert hub.tokens == {"Bearer hf_secret"}


@pytest.mark.parametrize("sha", ["/../../cards", "main", "", "A" * 40, "0" * 39])
def test_commit_that_is_none_is_refused(hub: StandInHub, sha: str) -> None:
    """It becomes the name of a folder."""
    hub.repositories["org/name"].commit = sha
    with pytest.raises(SourceUnavailable, match="commit"):
        _ = HubRepository("org/name").commit


def test_hub_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in message(HubRepository("org/name"))


def test_disk_that_cannot_be_written_is_not_blamed_on_the_hub(hub: StandInHub, tmp_path: Path) -> None:
    hosted = hub.repositories["org/name"]
    file = SourceFile(path="config.json", sha256="0" * 64, bytes=8)
    source = HubRepositoryFiles(
        HubSource(kind="hub", repository="org/name", commit=hosted.commit, files={"weights": file})
    )
    (tmp_path / "downloads").write_text("a file")
    with pytest.raises(OSError, match="downloads"):
        source.fetch(tmp_path / "downloads")


def test_names_that_lead_outside_are_not_listed(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("../x", "/etc/passwd", "a/../../x", "a\\b", "a//b", "", "good.json")
    listed = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=1, lfs=None) for name in names])
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: listed)
    assert set(HubRepository("org/name").files) == {"good.json"}


def test_file_that_is_larger_than_listed_is_not_read(hub: StandInHub) -> None:
    repository = HubRepository("org/name")
    assert repository.files["config.json"].size == 8
    (hub.repositories["org/name"].folder / "config.json").write_bytes(b" " * 5000)
    with pytest.raises(NotDerivable, match="more than"):
        repository.read("config.json", most=1000)


def test_fetched_files_are_checked_and_kept_until_they_are_discarded(hub: StandInHub, tmp_path: Path) -> None:
    hosted = hub.repositories["org/name"]
    digest = sha256_of_file(hosted.folder / "sub" / "weights.bin")
    file = SourceFile(path="sub/weights.bin", sha256=digest, bytes=200)
    source = HubRepositoryFiles(
        HubSource(kind="hub", repository="org/name", commit=hosted.commit, files={"weights": file})
    )
    seen: list[tuple[int, int]] = []
    folder = source.fetch(tmp_path / "downloads", lambda done, total, _: seen.append((done, total)))
    assert source.read(folder, file) == bytes(range(200))
    assert seen == [(200, 200)]
    asked = len(hub.requests)
    assert source.fetch(tmp_path / "downloads") == folder
    assert len(hub.requests) == asked, "what is there is not fetched again"
    source.discard(folder)
    assert not folder.exists()
