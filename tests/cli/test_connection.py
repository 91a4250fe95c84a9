"""The options of `zoo` about TLS and the token, and their variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from typer.testing import Result

from tests.support.certificates import Authority
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]
CA = Authority()
SECRET = "zoo_abc_0123456789"


@pytest.fixture(scope="module")
def secure_zoo() -> Iterator[FakeZoo]:
    """Wants a certificate of clients."""
    pair = CA.issue()
    fake = FakeZoo(grpc.ssl_server_credentials([(pair.key, pair.cert)], CA.pem, True))
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "ca.crt").write_bytes(CA.pem)
    (tmp_path / "token").write_text(SECRET + "\n")
    cert, key = CA.issue("client", client=True).write(tmp_path, "client")
    return {"ca": str(tmp_path / "ca.crt"), "cert": str(cert), "key": str(key), "token": str(tmp_path / "token")}


def test_options_before_the_command_give_tls(run: Run, secure_zoo: FakeZoo, files: dict[str, str]) -> None:
    options = (
        "--tls-ca-file",
        files["ca"],
        "--tls-client-cert-file",
        files["cert"],
        "--tls-client-key-file",
        files["key"],
    )
    done = run(*options, "status", "--server", secure_zoo.target)
    assert done.exit_code == 0, done.output
    done = run(*options, "--tls-server-name", "another.example", "status", "--server", secure_zoo.target)
    assert done.exit_code == 2


def test_variables_give_tls(run: Run, secure_zoo: FakeZoo, files: dict[str, str]) -> None:
    env = {
        "ZOO_TLS_CA_FILE": files["ca"],
        "ZOO_TLS_CLIENT_CERT_FILE": files["cert"],
        "ZOO_TLS_CLIENT_KEY_FILE": files["key"],
    }
    assert run("status", "--server", secure_zoo.target, env=env).exit_code == 0


def test_cas_of_this_machine_do_not_include_that_of_the_test(run: Run, secure_zoo: FakeZoo) -> None:
    done = run("--tls", "status", "--server", secure_zoo.target)
    assert done.exit_code == 2
    assert "cannot be trusted" in done.stderr


@pytest.mark.parametrize("command", [("models",), ("show", "silero_vad"), ("status",)])
def test_tls_that_keeps_both_apart_is_an_error_and_not_a_missing_server(
    run: Run, secure_zoo: FakeZoo, files: dict[str, str], command: tuple[str, ...]
) -> None:
    done = run(*command, "--server", secure_zoo.target)
    assert (done.exit_code != 0, "speaks TLS" in done.stderr, done.stdout) == (True, True, "")
    done = run("--tls-ca-file", files["ca"], *command, "--server", secure_zoo.target)
    assert (done.exit_code != 0, "client certificate" in done.stderr, done.stdout) == (True, True, "")


def test_options_of_one_command_do_not_reach_the_next(run: Run, zoo: FakeZoo, files: dict[str, str]) -> None:
    assert run("--tls-ca-file", files["ca"], "status", "--server", zoo.target).exit_code == 2
    assert run("status", "--server", zoo.target).exit_code == 0


@pytest.mark.parametrize("given", ["option", "file", "variable"])
def test_token_reaches_the_server(run: Run, zoo: FakeZoo, files: dict[str, str], given: str) -> None:
    options = ("--token-file", files["token"]) if given == "option" else ()
    env = {"file": {"ZOO_TOKEN_FILE": files["token"]}, "variable": {"ZOO_TOKEN": SECRET}}.get(given)
    done = run(*options, "models", "--server", zoo.target, env=env)
    assert done.exit_code == 0
    assert zoo.authorizations.by_method["ListModels"] == {f"Bearer {SECRET}"}
    assert SECRET not in done.output


def test_token_to_another_machine_in_plain_text_is_refused(run: Run, files: dict[str, str]) -> None:
    done = run("--token-file", files["token"], "status", "--server", "zoo.example:8001")
    assert done.exit_code == 1
    assert done.stderr.startswith("the token would travel to zoo.example:8001 in plain text: use TLS")
    assert SECRET not in done.output


def test_there_is_no_option_for_the_token_itself(run: Run, zoo: FakeZoo) -> None:
    """Every user of the machine could read it in the list of processes."""
    done = run("--token", SECRET, "status", "--server", zoo.target)
    assert done.exit_code == 2
    assert "No such option" in done.stderr


def test_file_that_cannot_be_read_is_one_sentence(run: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    done = run("--tls-ca-file", str(tmp_path / "absent"), "status", "--server", zoo.target)
    assert done.exit_code == 1
    assert done.stderr == f"the CA file '{tmp_path}/absent' cannot be read: no such file or directory\n"
