"""The calls that `zoo show` prints work as they are, for each kind of raw input of the default models."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.end_to_end.server_process import EXAMPLES, ServerProcess, run_zoo

WORDS = {"efficientnet_lite0": "cat", "all_minilm_l6_v2": "", "silero_vad": ""}
"""A word of each model's answer."""


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with ServerProcess() as server:
        yield server.ready().target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with the files that the calls name."""
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path / "photo.jpg")
    shutil.copy(EXAMPLES / "speech.flac", tmp_path / "speech.wav")
    return tmp_path


@pytest.mark.parametrize("model", WORDS)
def test_shown_call_works_as_it_is(
    model: str, target: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run_zoo("show", model, "--json", "--server", target)
    assert shown.returncode == 0, shown.stderr
    calls = json.loads(shown.stdout)["calls"]
    zoo, *arguments = shlex.split(calls["cli"])
    done = run_zoo(*arguments, cwd=folder)
    assert (zoo, done.returncode) == ("zoo", 0), done.stderr
    assert WORDS[model] in done.stdout
    monkeypatch.chdir(folder)
    exec(compile(calls["python"], "python", "exec"), {})
    assert WORDS[model] in capsys.readouterr().out
