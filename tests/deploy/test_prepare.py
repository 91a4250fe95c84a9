"""What `deploy/compose/prepare.py` makes for one installation, and what it leaves alone."""

from __future__ import annotations

import importlib.util
import json
import ssl
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509

from tests.support.paths import REPOSITORY


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare", REPOSITORY / "deploy/compose/prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["prepare"] = module
    spec.loader.exec_module(module)
    return module


prepare = load()
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folders that the image has."""
    for name in ("authority", "database", "grafana", "metrics", "tls"):
        (tmp_path / name).mkdir()
    return tmp_path


def content(run: Path) -> dict[str, bytes]:
    return {str(file.relative_to(run)): file.read_bytes() for file in run.rglob("*") if file.is_file()}


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def certificate(run: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((run / "tls/tls.crt").read_bytes())


def names(of: x509.Certificate) -> set[str]:
    return {str(name.value) for name in of.extensions.get_extension_for_class(x509.SubjectAlternativeName).value}


def handshake(run: Path, name: str) -> None:
    """A TLS handshake with the files in memory. Raises SSLError if the client does not accept the certificate."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=run / "tls/ca.crt")
    server.load_cert_chain(run / "tls/tls.crt", run / "tls/tls.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue


def test_passwords_are_random_and_stay(run: Path) -> None:
    prepare.make_passwords(run)
    made = content(run)
    assert made.keys() == {"database/password", "database/pgpass", "grafana/password"}
    password = made["database/password"].decode().strip()
    assert made["database/pgpass"].decode() == f"*:*:*:zoo:{password}\n"
    assert len({password, made["grafana/password"].decode()}) == 2
    assert min(len(password), len(made["grafana/password"])) >= 32
    prepare.make_passwords(run)
    assert content(run) == made


def test_password_file_of_the_client_is_readable_by_its_owner_alone(run: Path) -> None:
    prepare.make_passwords(run)
    assert mode(run / "database/pgpass") == 0o600  # libpq ignores it otherwise
    assert mode(run / "database/password") == 0o644  # the database's server has another user, and sees only this volume


def test_lost_password_file_of_the_client_is_made_again(run: Path) -> None:
    prepare.make_passwords(run)
    made = content(run)
    (run / "database/pgpass").unlink()
    prepare.make_passwords(run)
    assert content(run) == made


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_loopback_needs_no_tls(bind: str) -> None:
    prepare.check_address(bind, secured=False)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.7"])
def test_ports_open_to_other_machines_need_tls_and_tokens(bind: str) -> None:
    prepare.check_address(bind, secured=True)
    with pytest.raises(prepare.SettingError, match=r"ZOO_BIND is .* add docker-compose\.secured\.yml to COMPOSE_FILE"):
        prepare.check_address(bind, secured=False)


@pytest.mark.parametrize("bind", ["localhost", "yes", "127.0.0.1:80", "0.0.0"])
def test_wrong_address_is_an_error_that_names_the_variable(bind: str) -> None:
    with pytest.raises(prepare.SettingError, match=r"^ZOO_BIND is '.*'; expected an address"):
        prepare.check_address(bind, secured=True)


def test_certificate_is_accepted_under_each_of_its_names(run: Path) -> None:
    said = prepare.make_certificates("zoo.example, 192.0.2.7", run)
    assert said == "made a certificate for zoo, localhost, 127.0.0.1, ::1, zoo.example, 192.0.2.7"
    for name in ("zoo", "localhost", "127.0.0.1", "zoo.example", "192.0.2.7"):
        handshake(run, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(run, "other.example")


def test_keys_are_readable_by_their_owner_alone_and_certificates_by_all(run: Path) -> None:
    (run / "tls").chmod(0o750)  # as the image has it
    prepare.make_certificates("", run)
    assert mode(run / "tls") == 0o755  # for Prometheus, which has another user
    assert [mode(run / name) for name in ("tls/tls.key", "authority/ca.key")] == [0o600, 0o600]
    assert [mode(run / name) for name in ("tls/tls.crt", "tls/ca.crt")] == [0o644, 0o644]
    assert (run / "tls/ca.crt").read_bytes() == (run / "authority/ca.crt").read_bytes()


def test_certificate_stays_until_two_months_before_its_end(run: Path) -> None:
    prepare.make_certificates("", run, NOW)
    made = content(run)
    assert prepare.make_certificates("", run, NOW + timedelta(days=300)).startswith("the certificate is valid until ")
    assert content(run) == made
    late = NOW + timedelta(days=310)
    prepare.make_certificates("", run, late)
    assert certificate(run).not_valid_after_utc == late + timedelta(days=365)
    assert content(run)["authority/ca.crt"] == made["authority/ca.crt"]


def test_further_name_makes_a_new_certificate_of_the_same_authority(run: Path) -> None:
    prepare.make_certificates("", run)
    authority = (run / "tls/ca.crt").read_bytes()
    prepare.make_certificates("zoo.example", run)
    assert names(certificate(run)) == {"zoo", "localhost", "127.0.0.1", "::1", "zoo.example"}
    assert (run / "tls/ca.crt").read_bytes() == authority
    handshake(run, "zoo.example")


@pytest.mark.parametrize("kept", [True, False], ids=["with an authority of ours", "without"])
def test_certificate_of_somebody_else_stays(kept: bool, run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    if kept:
        prepare.make_certificates("", run)
    other = tmp_path_factory.mktemp("other")
    for name in ("authority", "tls"):
        (other / name).mkdir()
    prepare.make_certificates("zoo.example", other)
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (run / "tls" / name).write_bytes((other / "tls" / name).read_bytes())
    assert prepare.make_certificates("", run) == "the certificate is not of this installation, and stays"
    assert (run / "tls/tls.crt").read_bytes() == (other / "tls/tls.crt").read_bytes()


def test_certificate_of_somebody_else_without_its_key_is_an_error(run: Path) -> None:
    prepare.make_certificates("", run)
    for name in ("authority/ca.crt", "authority/ca.key", "tls/tls.key"):
        (run / name).unlink()
    with pytest.raises(prepare.SettingError, match=r"^ZOO_TLS_FOLDER has tls\.crt, but not tls\.key$"):
        prepare.make_certificates("", run)


def test_empty_folder_that_cannot_be_written_is_an_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare.os, "access", lambda path, how: False)  # root may write everywhere
    with pytest.raises(prepare.SettingError, match=r"^ZOO_TLS_FOLDER has no tls\.crt; expected ca\.crt, tls\.crt"):
        prepare.make_certificates("", run)
    assert content(run) == {}


@pytest.mark.parametrize("further", ["zoo example", "https://zoo.example", "zoo.example:8001", "-zoo"])
def test_wrong_name_is_an_error_that_names_the_variable(further: str, run: Path) -> None:
    with pytest.raises(prepare.SettingError, match=r"^ZOO_TLS_NAMES has '.*'; expected names and addresses"):
        prepare.make_certificates(further, run)


def fake_zoo(listed: list[dict[str, object]]) -> Callable[..., str]:
    """A `zoo token` that lists these tokens and makes the next one."""

    def command(*arguments: str) -> str:
        if arguments[:2] == ("token", "list"):
            return json.dumps({"tokens": listed})
        assert arguments == ("token", "create", "prometheus", "--scope", "metrics", "--local", "--json")
        token_id = f"id{len(listed)}"
        listed.append({"id": token_id, "revoked": None})
        return json.dumps({"id": token_id, "principal": "prometheus", "secret": f"zoo_{token_id}_secret"})

    return command


def test_metrics_token_is_made_once(run: Path) -> None:
    command = fake_zoo([])
    assert prepare.make_metrics_token(run, command) == "made token id0 of prometheus"
    assert (run / "metrics/token").read_text() == "zoo_id0_secret\n"
    assert prepare.make_metrics_token(run, command) == "the token of prometheus is valid"
    assert (run / "metrics/token").read_text() == "zoo_id0_secret\n"


def test_metrics_token_that_is_revoked_or_unknown_is_made_anew(run: Path) -> None:
    listed: list[dict[str, object]] = []
    command = fake_zoo(listed)
    prepare.make_metrics_token(run, command)
    listed[0]["revoked"] = "2026-01-01T00:00:00Z"
    assert prepare.make_metrics_token(run, command) == "made token id1 of prometheus"
    (run / "metrics/token").write_text("zoo_elsewhere_secret\n")  # of a database that is gone
    assert prepare.make_metrics_token(run, command) == "made token id2 of prometheus"
    (run / "metrics/token").write_text("damaged")
    assert prepare.make_metrics_token(run, command) == "made token id3 of prometheus"


def test_steps_that_are_not_named_are_not_done(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOO_BIND", "0.0.0.0")
    with pytest.raises(prepare.SettingError, match="ZOO_BIND"):
        prepare.main(["passwords"])
    prepare.main([])
    assert capsys.readouterr().out == ""
