"""`zoo probe` asks the server that has the same settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from typer.testing import Result

from service.access.certificates import CertificateFiles
from service.access.tls import Tls
from service.observability.http import HttpAccess, HttpPort
from tests.support.certificates import Authority

Run = Callable[..., Result]


@contextmanager
def serving(ready: bool, access: HttpAccess | None = None) -> Iterator[str]:
    """The number of a port."""
    port = HttpPort("127.0.0.1", 0, CollectorRegistry(), lambda: (True, ready), access)
    port.start()
    try:
        yield str(port.port)
    finally:
        port.stop()


@pytest.mark.parametrize(("ready", "code", "word"), [(True, 0, "ready\n"), (False, 1, "not ready\n")])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "unix:/run/zoo.sock"])
def test_exit_code_tells_whether_the_server_is_ready(run: Run, ready: bool, code: int, word: str, host: str) -> None:
    with serving(ready) as port:
        done = run("probe", env={"ZOO_HTTP_PORT": port, "ZOO_HOST": host})
    assert (done.exit_code, done.stdout) == (code, word)


def test_server_with_client_certificates_is_asked_without_one(run: Run, tmp_path: Path) -> None:
    authority = Authority()
    cert, key = authority.issue(hosts=("zoo.internal",)).write(tmp_path, "server")
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    tls = Tls(CertificateFiles(cert, key, tmp_path / "ca.crt"))
    with serving(True, HttpAccess(lambda: tls.context, certificate_required=True)) as port:
        env = {"ZOO_HTTP_PORT": port, "ZOO_TLS_CERT_FILE": str(cert)}
        assert run("probe", env=env).exit_code == 0


@pytest.mark.parametrize(("ready", "code"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("has_tls", [True, False])
def test_probe_without_the_right_settings_of_tls_finds_out(
    run: Run, tmp_path: Path, ready: bool, code: int, has_tls: bool
) -> None:
    cert, key = Authority().issue(hosts=("zoo.internal",)).write(tmp_path, "server")
    tls = Tls(CertificateFiles(cert, key, None))
    with serving(ready, HttpAccess(lambda: tls.context) if has_tls else None) as port:
        env = {"ZOO_HTTP_PORT": port} | ({} if has_tls else {"ZOO_TLS_CERT_FILE": str(cert)})
        assert run("probe", env=env).exit_code == code


def test_absent_server_is_exit_code_two(run: Run) -> None:
    done = run("probe", env={"ZOO_HTTP_PORT": "1"})
    assert (done.exit_code, done.stdout, done.stderr) == (
        2,
        "",
        "no server answers at port 1 of this machine; ZOO_HTTP_PORT is its HTTP port\n",
    )
