"""Each page of the course prints what it shows, and its pictures are those that its commands draw."""

from __future__ import annotations

import io
import runpy
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.cli.main import app
from tests.support.command_line import commands_built_once
from tests.support.course_pages import commands_of, line_matches, matches, pictures_of
from tests.support.end_to_end.workshop import RestartableServer
from tests.support.paths import EXAMPLES, REPOSITORY

__all__ = ["commands_built_once"]

COURSE = EXAMPLES / "course"
PAGES = sorted(COURSE.glob("[0-9]*.md"))
DRAWN = Path("data/course")
"""Where the commands of the pages write."""
MOST_PICTURE_BYTES = 60_000
GREY_LEVELS = 9.0
"""Decoders of JPEG differ by a grey level, of which a kernel makes nine at most."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {"ZOO_MODELS": "all_minilm_l6_v2,efficientnet_lite0,silero_vad", "ZOO_JOB_WORKER_READY_S": "60"}
    with RestartableServer(tmp_path_factory.mktemp("course") / "home", settings) as restartable:
        yield restartable.server.target


@pytest.fixture
def folder(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory as that of the repository, into which the commands may write."""
    for name in ("examples", "model_zoo"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_SERVER", target)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return tmp_path


def run(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a command prints. It runs in this process: a new one for each command takes seconds."""
    program, *rest = arguments
    if program == "zoo":
        done = CliRunner().invoke(app, rest)
        assert done.exit_code == 0, done.output
        return [line.rstrip() for line in done.stdout.splitlines()]
    assert program == "python"
    printed = io.StringIO()
    with redirect_stdout(printed):
        monkeypatch.setattr(sys, "argv", rest)
        runpy.run_path(rest[0], run_name="__main__")
    return [line.rstrip() for line in printed.getvalue().splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_prints_what_it_shows(page: Path, target: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = commands_of(page)
    assert commands
    for command in commands:
        printed = run(command.arguments, monkeypatch)
        told = "\n".join(printed)
        assert not command.shown or matches(command.shown, printed), f"{' '.join(command.arguments)} printed:\n{told}"
    for name in pictures_of(page):
        assert same_picture(COURSE / "images" / name, folder / DRAWN / name), name


def same_picture(shown: Path, drawn: Path) -> bool:
    assert shown.stat().st_size <= MOST_PICTURE_BYTES
    if shown.suffix == ".svg":
        return shown.read_text() == drawn.read_text()
    pictures = [np.asarray(Image.open(path).convert("RGB"), np.float32) for path in (shown, drawn)]
    return pictures[0].shape == pictures[1].shape and float(np.abs(pictures[0] - pictures[1]).max()) <= GREY_LEVELS


def test_course_has_its_ten_ideas_and_an_index_of_them() -> None:
    assert len(PAGES) == 10
    index = (COURSE / "README.md").read_text()
    assert [page.name for page in PAGES if f"]({page.name})" not in index] == []


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [
        ("a  cat   0.371", "a cat 0.372", True),
        ("a  cat   0.371", "a cat 0.471", False),
        ("a  cat   0.371", "a dog 0.371", False),
        ("$186,005 (80 %: 1 to ...)", "$186,101 (80 %: 1 to 7)", True),
        ("64 rows", "65 rows", False),
    ],
)
def test_line_is_compared_by_words_and_by_near_numbers(shown: str, printed: str, equal: bool) -> None:
    assert line_matches(shown, printed) is equal
    assert matches(["...", shown, "..."], ["first", printed]) is equal
