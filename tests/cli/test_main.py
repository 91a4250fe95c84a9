import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from service import __version__
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]

VERBS = ("serve", "models", "show", "pull", "predict", "status", "load", "unload")


def _loaded_by(code: str, *among: str) -> list[str]:
    """Which of `among` a new process has imported after `code`."""
    script = f"import sys\n{code}\nprint([name for name in {among!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return eval(done.stderr.splitlines()[-1])  # type: ignore[no-any-return]


def test_help_imports_no_torch_grpc_or_numpy() -> None:
    help_shown = "from service.cli.main import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
    assert _loaded_by(help_shown, "torch", "timm", "transformers", "grpc", "numpy", "pydantic", "service.server") == []


def test_client_import_loads_no_torch() -> None:
    heavy = ("torch", "timm", "transformers", "scipy", "PIL", "soundfile", "pydantic", "model_zoo")
    assert _loaded_by("import service.client", *heavy) == []


def test_help_lists_every_command(run: Run) -> None:
    shown = run("--help")
    assert shown.exit_code == 0
    assert all(verb in shown.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_command_help_exits_with_zero(run: Run, verb: str) -> None:
    assert run(verb, "--help").exit_code == 0


def test_version_option_prints_the_version_of_the_distribution(run: Run) -> None:
    shown = run("--version")
    assert shown.exit_code == 0
    assert shown.stdout == f"zoo {__version__}\n"


def test_serve_flags_become_settings_of_the_server(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setitem(sys.modules, "service.server", SimpleNamespace(run=served.append))
    monkeypatch.setattr("service.server", sys.modules["service.server"], raising=False)
    done = run("serve", "--model", "a", "--model", "b", "--host", "0.0.0.0", "--port", "0", "--http-port", "9")
    assert done.exit_code == 0, done.stderr
    [settings] = served
    assert (settings.models, settings.host, settings.port, settings.http_port) == (("a", "b"), "0.0.0.0", 0, 9)


def test_serve_without_flags_takes_settings_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setitem(sys.modules, "service.server", SimpleNamespace(run=served.append))
    monkeypatch.setattr("service.server", sys.modules["service.server"], raising=False)
    run("serve", env={"ZOO_MODELS": "silero_vad", "ZOO_PORT": "4242"})
    [settings] = served
    assert (settings.models, settings.port) == (("silero_vad",), 4242)


def test_serve_with_wrong_setting_exits_with_two_and_names_the_flag(run: Run) -> None:
    done = run("serve", "--port", "70000")
    assert done.exit_code == 2
    assert done.stderr.startswith("--port is 70000: ")
    assert "Traceback" not in done.stderr


def test_missing_package_error_names_the_extra_that_brings_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(settings: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setitem(sys.modules, "service.server", SimpleNamespace(run=absent))
    monkeypatch.setattr("service.server", sys.modules["service.server"], raising=False)
    done = run("serve")
    assert done.exit_code == 1
    assert done.stderr == "this needs the package 'torch'; the extra `server` of zoo-serving brings it\n"


def test_unexpected_error_leaves_the_app_as_an_exception(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(settings: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setitem(sys.modules, "service.server", SimpleNamespace(run=wrong))
    monkeypatch.setattr("service.server", sys.modules["service.server"], raising=False)
    assert isinstance(run("serve").exception, KeyError)


def test_server_address_from_environment_is_used_unless_the_option_is_given(run: Run, zoo: FakeZoo) -> None:
    assert run("status", env={"ZOO_SERVER": zoo.target}).exit_code == 0
    assert run("status", "--server", zoo.target, env={"ZOO_SERVER": "127.0.0.1:1"}).exit_code == 0


@pytest.mark.parametrize("address", ["unix:", "unix:/a b", "unix://run/zoo.sock"])
def test_malformed_socket_is_rejected_before_any_call(run: Run, address: str) -> None:
    done = run("status", "--server", address)
    assert done.exit_code == 2
    assert "expected" in done.stderr


@pytest.mark.parametrize("address", ["http://127.0.0.1:8001", "a/b", " "])
def test_malformed_server_address_is_rejected_before_any_call(run: Run, address: str) -> None:
    done = run("status", "--server", address)
    assert done.exit_code == 2
    assert "HOST:PORT" in done.stderr
