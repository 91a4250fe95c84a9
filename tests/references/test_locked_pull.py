"""A lock file gives another home the same models, or says what differs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_zoo.catalog import Catalog
from model_zoo.errors import ConversionFailed, NotAsLocked, SourceUnavailable
from model_zoo.golden.golden_case import ClassificationExpectation
from model_zoo.inventory.lock_file import read_lock, text_of_lock
from model_zoo.references.card_plan import Given
from model_zoo.references.reference import parse_reference
from model_zoo.store import Store
from service.references.library_answers import answer
from service.references.locked_pull import check_free, pull_locked
from service.references.pull import Pulled, pull_reference
from tests.support.references.stand_in_hub import HostedRepository, StandInHub, stand_in_hub
from tests.support.references.tiny_repositories import text_classifier, timm_repository


@pytest.fixture(autouse=True)
def library_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))


@contextmanager
def hub_of(folder: Path) -> Iterator[StandInHub]:
    """A hub with the repositories `text` and `photo` of a folder."""
    with pytest.MonkeyPatch.context() as patch, stand_in_hub() as found:
        patch.setenv("HF_ENDPOINT", found.url)
        found.repositories["org/tiny"] = HostedRepository(folder / "text")
        found.repositories["timm/test_resnet.x"] = HostedRepository(folder / "photo")
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Pulled]]:
    """A folder with two repositories, their models in the home `first`, and both locked in `zoo.lock`. Tests have copies."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("text", "photo"):
        (folder / name).mkdir()
    text_classifier(folder / "text")
    timm_repository(folder / "photo", classes=4)
    home, given = folder / "first", Given(labels=("cat", "cup", "rocket", "boat"))
    with hub_of(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        found = [
            pull_reference(parse_reference("hf:org/tiny"), home, name="mine"),
            pull_reference(parse_reference("timm:test_resnet.x"), home, given=given),
        ]
    (folder / "zoo.lock").write_text(text_of_lock(one.card for one in found), encoding="utf-8")
    return folder, found


@pytest.fixture
def hub(made: tuple[Path, list[Pulled]], tmp_path: Path) -> Iterator[StandInHub]:
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    with hub_of(tmp_path) as found:
        yield found


@pytest.fixture
def pulled(made: tuple[Path, list[Pulled]], hub: StandInHub) -> list[Pulled]:
    """The two models of the home `first`, one with names of classes that its user gave."""
    return made[1]


def leftovers(home: Path) -> list[str]:
    return sorted(p.name for p in home.rglob("*") if p.is_file() and not p.name.endswith(".lock"))


def test_another_home_gets_equal_models(pulled: list[Pulled], hub: StandInHub, tmp_path: Path) -> None:
    home = tmp_path / "second"
    for hosted in hub.repositories.values():
        hosted.gated = False
    asked = len(hub.requests)
    locked = [pull_locked(card, home) for card in read_lock(tmp_path / "zoo.lock")]
    assert not any(request.startswith("GET /api/models") for request in hub.requests[asked:]), "nothing is looked up"
    assert {one.card.name: one.files.digest for one in locked} == {one.card.name: one.files.digest for one in pulled}
    for one in pulled:
        assert Catalog.of_home(home).get(one.card.name) == one.card
        theirs, ours = Store(tmp_path / "first").find(one.card), Store(home).find(one.card)
        assert theirs is not None
        assert ours is not None
        names = sorted(path.name for path in theirs.folder.iterdir())
        assert [(ours.folder / name).read_bytes() for name in names] == [
            (theirs.folder / name).read_bytes() for name in names
        ]
    assert not list((home / "downloads").glob("[!.]*"))
    asked = len(hub.requests)
    assert [pull_locked(one.card, home).already for one in pulled] == [True, True]
    assert len(hub.requests) == asked


def test_lost_files_of_a_locked_model_are_fetched_again(pulled: list[Pulled], tmp_path: Path) -> None:
    card = pulled[0].card
    Store(tmp_path / "first").remove(card)
    assert pull_locked(card, tmp_path / "first").files.digest == pulled[0].files.digest


@pytest.mark.parametrize("grows", [False, True])
def test_changed_file_is_refused_with_both_digests(
    grows: bool, pulled: list[Pulled], hub: StandInHub, tmp_path: Path
) -> None:
    folder, card = hub.repositories["org/tiny"].folder, pulled[0].card
    content = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(content + b" " if grows else content.replace(b"bad", b"sad"))
    with pytest.raises(NotAsLocked, match=r"config\.json has sha256 [0-9a-f]{64}, and locked is") as raised:
        pull_locked(card, tmp_path / "second")
    assert next(file.sha256 for file in card.source.files.values() if file.path == "config.json") in str(raised.value)
    assert leftovers(tmp_path / "second") == []


def test_commit_that_the_hub_no_longer_has_is_refused(pulled: list[Pulled], hub: StandInHub, tmp_path: Path) -> None:
    hub.repositories["org/tiny"].commit = "f" * 40
    with pytest.raises(SourceUnavailable, match="no such branch, tag or commit"):
        pull_locked(pulled[0].card, tmp_path / "second")
    assert leftovers(tmp_path / "second") == []


def test_other_model_of_that_name_stays_as_it_is(pulled: list[Pulled], tmp_path: Path) -> None:
    card = pulled[0].card
    other = card.model_copy(update={"source": card.source.model_copy(update={"commit": "f" * 40})})
    with pytest.raises(NotAsLocked, match="its commit is 0123"):
        pull_locked(other, tmp_path / "first")
    named = card.model_copy(update={"name": "efficientnet_lite0"})
    with pytest.raises(NotAsLocked, match="efficientnet_lite0 is not what"):
        pull_locked(named, tmp_path / "first")
    (tmp_path / "first/cards/mine.yaml").write_text("name: [")
    with pytest.raises(NotAsLocked, match="damaged"):
        check_free(card, tmp_path / "first")


def test_other_answers_than_those_that_were_locked_are_refused(pulled: list[Pulled], tmp_path: Path) -> None:
    expect = ClassificationExpectation(label="bad", min_score=1.0)
    (first, *_) = pulled[0].card.golden
    card = pulled[0].card.model_copy(update={"golden": (first.model_copy(update={"expect": expect}),)})
    with pytest.raises(ConversionFailed, match="other answers than where it was locked: case 1 of 1"):
        pull_locked(card, tmp_path / "second")
    assert leftovers(tmp_path / "second") == []


def test_card_that_contradicts_its_files_is_refused(pulled: list[Pulled], tmp_path: Path) -> None:
    card = pulled[1].card
    arguments = {**card.architecture.arguments, "model_name": "test_vit"}
    wrong = card.model_copy(update={"architecture": card.architecture.model_copy(update={"arguments": arguments})})
    with pytest.raises(ConversionFailed):
        pull_locked(wrong, tmp_path / "second")
    assert leftovers(tmp_path / "second") == []


def test_folder_is_pulled_where_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    text_classifier(folder)
    card = pull_reference(parse_reference(f"local:{folder}"), tmp_path / "first").card
    assert pull_locked(card, tmp_path / "second").card == card
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes() + b" ")
    with pytest.raises(NotAsLocked, match=r"config\.json has sha256"):
        pull_locked(card, tmp_path / "third")
    assert (folder / "config.json").exists(), "the folder is the user's"
    folder.rename(tmp_path / "moved")
    with pytest.raises(SourceUnavailable, match="no such folder"):
        pull_locked(card, tmp_path / "third")
    assert leftovers(tmp_path / "third") == []


def test_nothing_is_fetched_offline(pulled: list[Pulled], hub: StandInHub, tmp_path: Path) -> None:
    asked = len(hub.requests)
    with pytest.raises(SourceUnavailable, match="ZOO_OFFLINE"):
        pull_locked(pulled[0].card, tmp_path / "second", offline=True)
    assert len(hub.requests) == asked
