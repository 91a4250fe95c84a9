import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from service.cli import main as main_module
from service.cli.main import app
from tests.support.command_line import commands_built_once
from tests.support.fake_zoo.models import add_columns, add_structured
from tests.support.fake_zoo.sandbox import Sandbox, write_unusual_files
from tests.support.fake_zoo.server import FakeZoo

__all__ = ["commands_built_once"]


@pytest.fixture
def zoo() -> Iterator[FakeZoo]:
    """A server that answers at `zoo.target`."""
    fake = FakeZoo()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the `zoo` command in this process, without a terminal and without the caller's variables."""
    for name in [name for name in os.environ if name.startswith("ZOO_") or name == "FORCE_COLOR"]:
        monkeypatch.delenv(name)

    def invoke(*arguments: str, stdin: bytes | None = None, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin, env=env)

    return invoke


@pytest.fixture
def nowhere() -> str:
    """An address where nothing answers: no machine serves port 1 (tcpmux)."""
    return "127.0.0.1:1"


@pytest.fixture
def sandbox(
    tmp_path: Path, zoo: FakeZoo, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Sandbox:
    add_structured(zoo.model_service)
    add_columns(zoo.model_service)
    write_unusual_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setattr(main_module, "prepare_process", lambda: None)
    monkeypatch.setattr(sys, "argv", ["zoo"])
    server = SimpleNamespace(run=lambda settings: None)
    monkeypatch.setitem(sys.modules, "service.server", server)
    monkeypatch.setattr("service.server", server, raising=False)
    return Sandbox(tmp_path, zoo, capfd, monkeypatch)
