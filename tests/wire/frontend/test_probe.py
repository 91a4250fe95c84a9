"""The frontend is tried in a child process; a success is remembered, and a failure is told in one clause."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from service.wire.frontend import probe
from service.wire.frontend.frontend import Frontend

pytestmark = pytest.mark.asyncio


def executable(folder: Path, script: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def replace_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def replace(script: str) -> None:
        monkeypatch.setattr(sys, "executable", executable(tmp_path, script))

    return replace


@pytest.mark.slow
async def test_frontend_works_with_the_installed_grpcio_and_is_tried_once(tmp_path: Path, replace_python: Any) -> None:
    assert await probe.works(tmp_path) == ""
    remembered = json.loads((tmp_path / probe.RESULT).read_text())
    assert remembered["grpcio"] == grpc.__version__
    replace_python("exit 1")
    assert await probe.works(tmp_path) == ""


async def test_probe_in_this_process_passes_every_step() -> None:
    await probe.probe()


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo a stream has no answer; exit 1", "a stream has no answer"),
        ("echo something else", "something else"),
        ("exit 3", "the process that tries it ended with code 3"),
        ("kill -ABRT $$", "the process that tries it ended with code -6"),
    ],
)
async def test_failure_is_told_and_not_remembered(
    script: str, problem: str, tmp_path: Path, replace_python: Any
) -> None:
    replace_python(script)
    assert await probe.works(tmp_path) == problem
    assert not (tmp_path / probe.RESULT).exists()


async def test_process_that_does_not_start_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    assert await probe.works(tmp_path) == "the process that tries it does not start"


async def test_process_that_does_not_end_is_ended(
    tmp_path: Path, replace_python: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.2)
    replace_python("exec sleep 600")
    assert await probe.works(tmp_path) == "the process that tries it does not end"


@pytest.mark.parametrize("content", ["{}", "not json", '{"revision": 0}', "[]"])
async def test_result_of_another_release_does_not_count(content: str, tmp_path: Path, replace_python: Any) -> None:
    (tmp_path / probe.RESULT).write_text(content)
    replace_python("exit 3")
    assert await probe.works(tmp_path) == "the process that tries it ended with code 3"


@pytest.mark.slow
async def test_home_that_cannot_be_written_only_costs_the_memory_of_the_success(tmp_path: Path) -> None:
    assert await probe.works(tmp_path / "missing") == ""


async def test_step_without_an_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 1.5)
    monkeypatch.setattr(Frontend, "deliver", lambda *_: None)  # no call reaches the event loop
    with pytest.raises(probe.Failed, match="a unary call has no answer"):
        await probe.probe()
    monkeypatch.undo()
    await asyncio.sleep(0)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_result_that_cannot_be_stored_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / probe.RESULT).mkdir()
    probe._remember(tmp_path / probe.RESULT, {"revision": 1})
    assert names(tmp_path) == [probe.RESULT]
