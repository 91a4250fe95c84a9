from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from tests.support.cli_server import FakeZoo


@pytest.fixture
def zoo() -> Iterator[FakeZoo]:
    """A server that answers at `zoo.target`."""
    fake = FakeZoo()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the `zoo` command in this process: no terminal, no variables of the caller's."""
    for name in ("ZOO_SERVER", "ZOO_OFFLINE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*arguments: str, stdin: bytes | None = None, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin, env=env)

    return invoke


@pytest.fixture
def nowhere() -> str:
    """An address where nothing answers: port 1 (tcpmux) is served nowhere."""
    return "127.0.0.1:1"
