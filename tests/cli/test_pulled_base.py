"""A base that is named by a reference is the same network at the command and at the server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer

from model_zoo.errors import SourceUnavailable
from service.cli import pulled_base as subject
from service.cli.pulled_base import pulled_base
from service.client import Client
from service.client.errors import NotAllowed, NotFound

HERE, ELSEWHERE = "127.0.0.1:8001", "zoo.example.org:8001"
PULLED = SimpleNamespace(weights_sha256="a" * 64, parameter_count=10, task="text-classification")


class FakeClient:
    def __init__(self, known: Any = None, refuses: str = "PERMISSION_DENIED") -> None:
        self.known, self.refuses, self.asked = known, refuses, list[str]()

    def pull_model(self, reference: str) -> Any:
        self.asked.append(reference)
        if self.refuses:
            raise NotAllowed("this server pulls no models", code=self.refuses)
        return SimpleNamespace(model=SimpleNamespace(name="tiny"))

    def model(self, name: str) -> Any:
        if self.known is None:
            raise NotFound(f"unknown model {name!r}", code="NOT_FOUND")
        return self.known


@pytest.fixture(autouse=True)
def pulls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What this machine pulls."""
    pulled: list[str] = []

    def pull_one(text: str, *_: Any, **__: Any) -> str:
        pulled.append(text)
        return "tiny"

    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setattr("service.cli.commands.pull.pull_one", pull_one)
    monkeypatch.setattr(subject, "local_model", lambda name: PULLED)
    monkeypatch.setattr(subject, "LEARNS_S", 0.0)
    return pulled


def base(client: FakeClient, reference: str, server: str = HERE) -> str:
    return pulled_base(cast(Client, client), reference, server)


def test_server_that_may_pull_does_it(pulls: list[str]) -> None:
    client = FakeClient(refuses="")
    assert base(client, "hf:org/tiny", ELSEWHERE) == "tiny"
    assert (client.asked, pulls) == (["hf:org/tiny"], [])


def test_this_machine_pulls_for_a_server_on_it(pulls: list[str]) -> None:
    assert base(FakeClient(PULLED), "hf:org/tiny") == "tiny"
    assert pulls == ["hf:org/tiny"]


def test_server_elsewhere_that_refuses_is_the_error(pulls: list[str]) -> None:
    with pytest.raises(NotAllowed):
        base(FakeClient(PULLED), "hf:org/tiny", ELSEWHERE)
    assert pulls == []


def test_missing_token_pulls_nothing(pulls: list[str]) -> None:
    with pytest.raises(NotAllowed):
        base(FakeClient(PULLED, refuses="UNAUTHENTICATED"), "hf:org/tiny")
    assert pulls == []


def test_path_of_this_machine_is_sent_to_no_server(pulls: list[str], tmp_path: Path) -> None:
    client = FakeClient(PULLED)
    assert base(client, f"local:{tmp_path}") == "tiny"
    with pytest.raises(typer.BadParameter, match="on the machine of the server alone") as error:
        base(client, f"local:{tmp_path}", ELSEWHERE)
    assert str(tmp_path) not in str(error.value)
    assert client.asked == []
    assert len(pulls) == 1


def test_folder_that_is_not_there_starts_no_pull(pulls: list[str], tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="there is no folder"):
        base(FakeClient(PULLED), f"local:{tmp_path / 'none'}")
    assert pulls == []


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (None, "does not know it"),
        (SimpleNamespace(weights_sha256="b" * 64, parameter_count=10, task="text-classification"), "another model"),
        (SimpleNamespace(weights_sha256="a" * 64, parameter_count=11, task="text-classification"), "another model"),
    ],
)
def test_server_with_another_home_is_refused(known: Any, words: str) -> None:
    with pytest.raises(typer.BadParameter, match=words):
        base(FakeClient(known), "hf:org/tiny")
