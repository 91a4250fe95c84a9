"""`zoo cache` lists and prunes, and removes nothing while a server or a pull uses the home."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from model_zoo.locking import shared_lock, try_lock
from service.settings import HOME_LOCK
from tests.support.model_zoo.pulled_cards import add_card, add_weights, pulled_card

Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a model that is used, and one whose card is gone."""
    used, gone = pulled_card("used"), pulled_card("gone")
    add_card(tmp_path, used)
    add_weights(tmp_path, used, "a" * 64)
    add_weights(tmp_path, gone, "b" * 64)
    return tmp_path


def test_list_names_users_and_sizes(run: Run, home: Path) -> None:
    for command in (("cache",), ("cache", "list")):
        done = run(*command, env={"ZOO_HOME": str(home)})
        assert done.exit_code == 0, done.stderr
        assert [line.split()[:3] for line in done.stdout.splitlines() if line.startswith("weights")] == [
            ["weights", "gone", "b" * 12],
            ["weights", "used", "a" * 12],
        ]
    [gone, used, pointer] = json.loads(run("cache", "list", "--json", env={"ZOO_HOME": str(home)}).stdout)["items"]
    assert (used["used_by"], gone["used_by"], pointer["kind"]) == (["used"], [], "pointer")


def test_prune_removes_what_nothing_uses(run: Run, home: Path) -> None:
    dry = run("cache", "prune", "--dry-run", env={"ZOO_HOME": str(home)})
    assert (dry.exit_code, "would be freed" in dry.stdout) == (0, True)
    assert (home / "weights" / ("b" * 64)).exists()
    done = json.loads(run("cache", "prune", "--json", env={"ZOO_HOME": str(home)}).stdout)
    assert [item["kind"] for item in done["removed"]] == ["weights", "pointer"]
    assert not (home / "weights" / ("b" * 64)).exists()
    assert (home / "weights" / ("a" * 64)).exists()
    again = run("cache", "prune", env={"ZOO_HOME": str(home)})
    assert again.stdout == "nothing is unused\n"


def test_prune_is_refused_while_the_home_is_used(run: Run, home: Path) -> None:
    with shared_lock(home / HOME_LOCK):  # as a server and a pull hold it
        done = run("cache", "prune", env={"ZOO_HOME": str(home)})
        assert (done.exit_code, "a server or a pull works on" in done.stderr) == (2, True)
        assert run("cache", "prune", "--dry-run", env={"ZOO_HOME": str(home)}).exit_code == 0
        assert run("cache", "list", env={"ZOO_HOME": str(home)}).exit_code == 0
    assert (home / "weights" / ("b" * 64)).exists()


def test_two_users_share_a_home_and_exclude_a_prune(tmp_path: Path) -> None:
    with shared_lock(tmp_path / HOME_LOCK), shared_lock(tmp_path / HOME_LOCK):
        assert try_lock(tmp_path / HOME_LOCK, exclusive=True) is None
    descriptor = try_lock(tmp_path / HOME_LOCK, exclusive=True)
    assert descriptor is not None
    os.close(descriptor)


def test_home_that_does_not_exist_has_nothing_to_prune(run: Run, tmp_path: Path) -> None:
    done = run("cache", "prune", env={"ZOO_HOME": str(tmp_path / "none")})
    assert (done.exit_code, done.stdout) == (0, "nothing is unused\n")
    assert not (tmp_path / "none").exists()
