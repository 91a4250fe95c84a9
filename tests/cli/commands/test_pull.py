"""`zoo pull` refuses in a moment what needs no process to be found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from service.references.pull_process import PullProcess

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(PullProcess, "run", run)


def refusal(run: Run, home: Path, *arguments: str) -> str:
    done = run("pull", *arguments, env={"ZOO_HOME": str(home)})
    assert done.exit_code in (1, 2)
    assert done.stdout == ""
    return " ".join(done.stderr.split())


def test_folder_that_is_not_there_is_named_with_its_path(run: Run, tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path}/none" in refusal(run, tmp_path, f"local:{tmp_path}/none")


def test_folder_without_its_kind_is_told_the_reference(run: Run, tmp_path: Path) -> None:
    told = refusal(run, tmp_path, str(tmp_path))
    assert "the reference of a folder begins with its kind" in told
    assert f"local:{tmp_path}"[:40] in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("onnx:none.onnx",), "there is no file"),
        (("local:.", "--name", "Bad name"), "'Bad name' is no name of a model"),
        (("local:.", "--labels", "none.txt"), "the file cannot be read"),
        ((), "name one or more models"),
    ],
)
def test_mistakes_of_a_command_line_start_no_process(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    assert told in refusal(run, tmp_path, *arguments)


def test_misspelt_task_is_told_the_nearest(run: Run, tmp_path: Path) -> None:
    told = refusal(run, tmp_path, f"local:{tmp_path}", "--task", "image-clasification")
    assert "did you mean image-classification?" in told


def test_misspelt_model_stops_the_pull_of_others(run: Run, tmp_path: Path) -> None:
    assert "no model named 'efficientnet_lit'" in refusal(run, tmp_path, f"local:{tmp_path}", "efficientnet_lit")
