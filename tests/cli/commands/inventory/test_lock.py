"""`zoo lock` and `zoo pull --locked`, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from model_zoo.references.reference import parse_reference
from service.references.library_answers import answer
from service.references.pull import pull_reference
from tests.support.references.tiny_repositories import text_classifier

Run = Callable[..., Result]


@pytest.fixture
def pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one pulled model, `tiny`; the working directory is empty."""
    monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
    folder, work = tmp_path / "tiny", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    text_classifier(folder)
    pull_reference(parse_reference(f"local:{folder}"), tmp_path / "first")
    return tmp_path


def test_locked_models_are_pulled_into_another_home(pulled: Path, run: Run) -> None:
    locked = run("lock", env={"ZOO_HOME": str(pulled / "first")})
    assert locked.exit_code == 0, locked.stderr
    assert locked.stdout.splitlines()[-1] == "zoo.lock locks 1 model; elsewhere: zoo pull --locked zoo.lock"
    assert [entry["name"] for entry in json.loads(Path("zoo.lock").read_text())["models"]] == ["tiny"]
    for words in ("tiny: pulled", "tiny: already here"):
        done = run("pull", "--locked", env={"ZOO_HOME": str(pulled / "second")})
        assert done.exit_code == 0, done.stderr
        assert words in done.stdout
    cards = [(pulled / home / "cards/tiny.yaml").read_bytes() for home in ("first", "second")]
    assert cards[0] == cards[1]
    again = run("lock", "tiny", "--out", "other.lock", env={"ZOO_HOME": str(pulled / "second")})
    assert again.exit_code == 0
    assert Path("other.lock").read_bytes() == Path("zoo.lock").read_bytes()


def test_changed_source_is_refused_and_leaves_nothing(pulled: Path, run: Run) -> None:
    assert run("lock", env={"ZOO_HOME": str(pulled / "first")}).exit_code == 0
    (pulled / "tiny/config.json").write_text("{}")
    done = run("pull", "--locked", "zoo.lock", env={"ZOO_HOME": str(pulled / "second")})
    assert done.exit_code == 1
    assert "config.json has sha256" in done.stderr
    assert not (pulled / "second/cards/tiny.yaml").exists()


def test_home_without_pulled_models_has_nothing_to_lock(pulled: Path, run: Run) -> None:
    for arguments, words in (
        ((), "nothing to lock"),
        (("efficientnet_lite0",), "ships with Zoo"),
        (("efficientnet",), "did you mean efficientnet_lite0 or efficientnet_lite2?"),
    ):
        done = run("lock", *arguments, env={"ZOO_HOME": str(pulled / "empty")})
        assert (done.exit_code, words in done.stderr) == (1, True), done.stderr
    assert list(Path().iterdir()) == []


def test_damaged_card_is_named_rather_than_left_out(pulled: Path, run: Run) -> None:
    (pulled / "first/cards/broken.yaml").write_text("name: [")
    done = run("lock", env={"ZOO_HOME": str(pulled / "first")})
    assert (done.exit_code, "broken" in done.stderr) == (1, True)
    assert run("lock", "tiny", env={"ZOO_HOME": str(pulled / "first")}).exit_code == 0


def test_lock_file_is_the_only_argument_of_a_locked_pull(run: Run, tmp_path: Path) -> None:
    for arguments in (("a", "b"), ("--name", "x"), ("--default",)):
        done = run("pull", "--locked", *arguments, env={"ZOO_HOME": str(tmp_path)})
        assert done.exit_code == 2
    missing = run("pull", "--locked", "none.lock", env={"ZOO_HOME": str(tmp_path)})
    assert (missing.exit_code, missing.stderr) == (
        1,
        "none.lock cannot be used: it cannot be read (no such file or directory)\n",
    )
