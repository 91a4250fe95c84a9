"""Two pulls of one repository, under different names, do not take each other's files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from model_zoo.errors import SourceUnavailable
from model_zoo.store import Store
from service.references.places import HubPlace
from tests.support.model_zoo.pulled_cards import pulled_card
from tests.support.references.stand_in_hub import HostedRepository, StandInHub, stand_in_hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    (tmp_path / "hosted").mkdir()
    (tmp_path / "hosted/config.json").write_text("{}")
    with stand_in_hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        found.repositories["org/tiny"] = HostedRepository(tmp_path / "hosted")
        yield found


@pytest.mark.timeout(60)
def test_second_pull_of_a_repository_waits_for_the_first(hub: StandInHub, tmp_path: Path) -> None:
    first, second = HubPlace("org/tiny", "", tmp_path), HubPlace("org/tiny", "", tmp_path)
    first.fetch(["config.json"], None)
    fetched = threading.Event()

    def pull() -> None:
        second.fetch(["config.json"], None)
        fetched.set()

    thread = threading.Thread(target=pull, daemon=True)
    thread.start()
    assert not fetched.wait(0.5), "the files are in use"
    first.discard()
    assert fetched.wait(30)
    assert (second.folder / "config.json").read_text() == "{}"
    second.discard()
    assert not second.folder.exists()
    thread.join()


@pytest.mark.timeout(60)
def test_fetch_that_fails_keeps_nobody_waiting(hub: StandInHub, tmp_path: Path) -> None:
    first, second = HubPlace("org/tiny", "", tmp_path), HubPlace("org/tiny", "", tmp_path)
    config = hub.repositories["org/tiny"].folder / "config.json"
    assert first.repository.files
    config.rename(config.with_name("gone"))
    with pytest.raises(SourceUnavailable):
        first.fetch(["config.json"], None)
    config.with_name("gone").rename(config)
    second.fetch(["config.json"], None)
    second.discard()


@pytest.mark.timeout(60)
def test_store_waits_for_a_pull_that_uses_the_files(hub: StandInHub, tmp_path: Path) -> None:
    pull = HubPlace("org/tiny", "", tmp_path)
    pull.fetch(["config.json"], None)
    card = pulled_card()
    ended = threading.Event()

    def materialise() -> None:
        with suppress(SourceUnavailable):  # the hub has no such files
            Store(tmp_path).materialise(card)
        ended.set()

    threading.Thread(target=materialise, daemon=True).start()
    assert not ended.wait(0.5), "the files are in use"
    assert (pull.folder / "config.json").exists()
    pull.discard()
    assert ended.wait(30)
