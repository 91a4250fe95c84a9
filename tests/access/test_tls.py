"""The certificate in use follows its files, and never becomes one that cannot be used."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from service.access.certificates import CertificateFiles
from service.access.tls import UNSETTLED_LOOKS, Tls, tls_of
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.settings import SettingsError, load_settings
from tests.support.certificates import DAY, Authority, Issued, write_key

CA = Authority()


class Watched:
    """TLS over files in a folder; a test calls `check` in place of the thread."""

    def __init__(self, folder: Path, client_ca: bytes | None = None) -> None:
        self.now = datetime.now(UTC)
        self.first = CA.issue("first")
        cert, key = self.first.write(folder, "server")
        ca = folder / "ca.crt" if client_ca else None
        if ca is not None and client_ca is not None:
            ca.write_bytes(client_ca)
        self.files = CertificateFiles(cert, key, ca)
        self.registry = CollectorRegistry()
        self.tls = Tls(self.files, lambda: self.now)
        self.tls._recorder = Recorder(Metrics(self.registry), Statistics())
        self.tls._record_expiry()
        self.check = self.tls.check

    @property
    def subject(self) -> str:
        return self.tls.certificate.subject

    def reloads(self, result: str) -> float:
        return self.registry.get_sample_value("zoo_tls_certificate_reloads_total", {"result": result}) or 0.0

    @property
    def expiry(self) -> float | None:
        name = "zoo_tls_certificate_expiry_timestamp_seconds"
        return self.registry.get_sample_value(name, {"certificate": "server"})

    def put(self, pair: Issued) -> None:
        self.files.cert.write_bytes(pair.cert)
        write_key(self.files.key, pair.key)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_unchanged_files_are_not_loaded_again(watched: Watched) -> None:
    before = watched.tls.certificate, watched.tls.context
    watched.files.cert.touch()
    watched.check()
    assert (watched.tls.certificate, watched.tls.context) == before
    assert watched.reloads("loaded") == watched.reloads("failed") == 0


def test_new_pair_is_taken_with_a_new_context_and_its_expiry(watched: Watched) -> None:
    context = watched.tls.context
    watched.put(CA.issue("second", lasts=5 * DAY))
    with structlog.testing.capture_logs() as lines:
        watched.check()
    assert watched.subject == "CN=second"
    assert watched.tls.context is not context
    assert watched.reloads("loaded") == 1
    assert watched.expiry == watched.tls.certificate.expires.timestamp()
    assert [line["event"] for line in lines] == ["TLS certificate reloaded"]


def test_pair_that_is_replaced_file_by_file_is_taken_once_both_are_there(watched: Watched) -> None:
    second = CA.issue("second")
    watched.files.cert.write_bytes(second.cert)
    with structlog.testing.capture_logs() as lines:
        watched.check()
    assert (watched.subject, lines, watched.reloads("failed")) == ("CN=first", [], 0)
    write_key(watched.files.key, second.key)
    watched.check()
    assert watched.subject == "CN=second"


def test_file_that_is_half_written_is_taken_once_it_is_complete(watched: Watched) -> None:
    second = CA.issue("second")
    watched.put(Issued(second.cert[:100], second.key))
    watched.check()
    watched.put(second)
    watched.check()
    assert (watched.subject, watched.reloads("failed")) == ("CN=second", 0)


def _missing(watched: Watched) -> None:
    watched.files.key.unlink()


def _expired(watched: Watched) -> None:
    watched.put(CA.issue(begins=-2 * DAY, lasts=-DAY))


def _damaged(watched: Watched) -> None:
    watched.files.cert.write_bytes(b"damaged")


def _open_key(watched: Watched) -> None:
    watched.put(CA.issue())
    watched.files.key.chmod(0o644)


def _strange_key(watched: Watched) -> None:
    write_key(watched.files.key, CA.issue().key)


@pytest.mark.parametrize("spoil", [_missing, _expired, _damaged, _open_key, _strange_key])
def test_files_that_cannot_be_used_keep_the_old_certificate_and_are_reported_once(
    watched: Watched, spoil: Callable[[Watched], None]
) -> None:
    spoil(watched)
    with structlog.testing.capture_logs() as lines:
        for _ in range(4):
            watched.check()
    assert watched.subject == "CN=first"
    assert watched.reloads("failed") == 1
    [line] = lines
    assert line["log_level"] == "error"
    assert "the certificate in use stays" in line["event"]
    assert line["reason"].startswith("ZOO_TLS_")
    watched.put(CA.issue("second"))
    watched.check()
    assert watched.subject == "CN=second"


def test_each_change_that_cannot_be_used_is_reported(watched: Watched) -> None:
    for text in (b"one", b"two"):
        watched.files.cert.write_bytes(text)
        watched.check()
        watched.check()
    watched.put(watched.first)
    watched.check()
    watched.files.cert.write_bytes(b"two")
    watched.check()
    watched.check()
    assert watched.reloads("failed") == 3


def test_files_that_never_settle_are_reported_once(watched: Watched) -> None:
    with structlog.testing.capture_logs() as lines:
        for look in range(3 * UNSETTLED_LOOKS):
            watched.files.cert.write_bytes(b"%d" % look)
            watched.check()
            assert watched.reloads("failed") == (look + 1 >= UNSETTLED_LOOKS)
    assert [line["log_level"] for line in lines] == ["error"]
    watched.put(CA.issue("second"))
    watched.check()
    assert watched.subject == "CN=second"


def test_error_that_is_not_foreseen_is_reported_once_and_counted(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    with monkeypatch.context() as patched, structlog.testing.capture_logs() as lines:
        patched.setattr("service.access.tls.check_contents", fail)
        watched.put(CA.issue("second"))
        for _ in range(4):
            watched.check()
    [line] = lines
    assert line["reason"] == "an error that was not foreseen: ZeroDivisionError"
    assert (watched.subject, watched.reloads("failed")) == ("CN=first", 1)
    watched.check()
    assert watched.subject == "CN=second"


def test_certificate_of_the_future_is_taken_when_its_time_has_come(watched: Watched) -> None:
    watched.put(CA.issue("second", begins=timedelta(minutes=5)))
    watched.check()
    assert watched.subject == "CN=first"
    watched.now += timedelta(minutes=6)
    watched.check()
    assert watched.subject == "CN=second"


def test_certificate_that_expires_in_use_is_logged_once(watched: Watched) -> None:
    watched.now += 2 * DAY
    with structlog.testing.capture_logs() as lines:
        watched.check()
        watched.check()
    assert [line["event"] for line in lines] == ["the TLS certificate in use has expired"]


def test_symbolic_link_that_is_swapped_is_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts a secret: the files are links into `..data`, itself a link that is replaced by rename."""
    for name in ("first", "second"):
        CA.issue(name).write(tmp_path / f"..{name}", "tls")
    (tmp_path / "..data").symlink_to("..first")
    for file in ("tls.crt", "tls.key"):
        (tmp_path / file).symlink_to(f"..data/{file}")
    tls = Tls(CertificateFiles(tmp_path / "tls.crt", tmp_path / "tls.key"))
    (tmp_path / "..next").symlink_to("..second")
    (tmp_path / "..next").rename(tmp_path / "..data")
    tls.check()
    assert tls.certificate.subject == "CN=second"


def test_new_ca_of_clients_is_taken(tmp_path: Path) -> None:
    watched = Watched(tmp_path, client_ca=CA.pem)
    other = Authority("Another CA").pem
    assert watched.files.client_ca is not None
    watched.files.client_ca.write_bytes(other)
    watched.check()
    assert watched.tls.certificate.client_ca == other
    assert watched.tls.clients_need_certificates


def test_context_of_http_takes_modern_tls_only(tmp_path: Path) -> None:
    context = Watched(tmp_path, client_ca=CA.pem).tls.context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_OPTIONAL
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher
        assert cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-"), cipher
    assert Watched(tmp_path / "other").tls.context.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (("tls_cert_file",), "ZOO_TLS_CERT_FILE is set without ZOO_TLS_KEY_FILE"),
        (("tls_key_file",), "ZOO_TLS_KEY_FILE is set without ZOO_TLS_CERT_FILE"),
        (("tls_client_ca_file",), "ZOO_TLS_CLIENT_CA_FILE is set without ZOO_TLS_CERT_FILE and ZOO_TLS_KEY_FILE"),
    ],
)
def test_setting_without_those_it_needs_is_rejected(tmp_path: Path, given: tuple[str, ...], missing: str) -> None:
    with pytest.raises(SettingsError, match=f"^{missing}; TLS needs the certificate and its key$"):
        tls_of(load_settings(**dict.fromkeys(given, tmp_path / "file")))


def test_files_that_cannot_be_used_at_start_are_an_error_of_their_setting(tmp_path: Path) -> None:
    cert, key = CA.issue(begins=-2 * DAY, lasts=-DAY).write(tmp_path, "server")
    with pytest.raises(SettingsError, match=r"^ZOO_TLS_CERT_FILE: the certificate expired on "):
        tls_of(load_settings(tls_cert_file=cert, tls_key_file=key))


def test_tls_is_off_without_its_settings() -> None:
    assert tls_of(load_settings()) is None
