"""Commands beside a server with the default models: the calls that `zoo show` prints work, and `zoo verify` is right."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from model_zoo.catalog import Catalog
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import EXAMPLES, ServerProcess

WORDS = {"efficientnet_lite0": "cat", "all_minilm_l6_v2": "", "silero_vad": ""}
"""A word of each model's answer."""


@pytest.fixture
def target(server: ServerProcess) -> str:
    return server.target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with the files that the calls name."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    return tmp_path


@pytest.mark.parametrize("model", WORDS)
def test_shown_call_works_as_it_is(
    model: str, target: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run_preloaded("show", model, "--json", "--server", target)
    assert shown.returncode == 0, shown.stderr
    calls = json.loads(shown.stdout)["calls"]
    zoo, *arguments = shlex.split(calls["cli"])
    done = run_preloaded(*arguments, cwd=folder)
    assert (zoo, done.returncode) == ("zoo", 0), done.stderr
    assert WORDS[model] in done.stdout
    monkeypatch.chdir(folder)
    exec(compile(calls["python"], "python", "exec"), {})
    assert WORDS[model] in capsys.readouterr().out


def test_verify_runs_every_golden_case_of_the_served_models(target: str) -> None:
    done = run_preloaded("verify", "--json", "--server", target)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["passed"]
    found = {model["model"]: model for model in document["models"]}
    assert found.keys() == WORDS.keys()
    for name, model in found.items():
        assert len(model["cases"]) == len(Catalog.from_package().get(name).golden)
        assert all(case["passed"] and case["figures"] for case in model["cases"])
    shown = run_preloaded("verify", "efficientnet_lite0", "--server", target)
    assert "at least" in shown.stdout


def test_verify_of_another_home_says_what_is_missing(target: str, tmp_path: Path) -> None:
    done = run_preloaded("verify", "silero_vad", "--server", target, ZOO_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "its files are not on this machine" in done.stderr
