"""A server with an unusable home or database fails with one sentence before it listens."""

import asyncio
import sys
from pathlib import Path

import grpc
import pytest
from grpc import aio

from service.settings import SettingsError, load_settings
from service.startup import bind, check_shared_memory, open_database, open_traces


@pytest.mark.parametrize("below", ["", "further/down"])
def test_home_that_cannot_be_written_is_rejected_with_its_path(tmp_path: Path, below: str) -> None:
    (tmp_path / "home").write_text("a file")
    settings = load_settings(home=tmp_path / "home" / below)
    with pytest.raises(SettingsError, match=r"^ZOO_HOME: nothing can be written in .*home.*: [a-z ]+$"):
        asyncio.run(open_database(settings))


def test_database_in_home_that_cannot_be_opened_is_rejected_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "zoo.db").mkdir()
    with pytest.raises(SettingsError, match=r"^ZOO_HOME: the database sqlite:.*zoo\.db cannot be opened"):
        asyncio.run(open_database(load_settings(home=tmp_path)))


def test_database_url_that_cannot_be_opened_is_rejected_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    url = f"sqlite:///{tmp_path}/a file/zoo.db"
    with pytest.raises(SettingsError, match=r"^ZOO_DATABASE_URL: the database .* cannot be opened"):
        asyncio.run(open_database(load_settings(home=tmp_path, database_url=url)))


def test_file_that_is_not_a_database_is_rejected_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "zoo.db").write_bytes(b"not a database" * 100)
    with pytest.raises(SettingsError, match=r"^ZOO_HOME: the database .*zoo\.db cannot be used"):
        asyncio.run(open_database(load_settings(home=tmp_path)))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs the shared memory of Linux")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost", "unix:/run/zoo.sock"])
def test_shared_memory_is_accepted_where_only_this_machine_connects(host: str) -> None:
    check_shared_memory(load_settings(host=host, shared_memory="system"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"])
def test_shared_memory_beyond_loopback_is_rejected(host: str) -> None:
    with pytest.raises(
        SettingsError, match=r"^ZOO_SHARED_MEMORY is 'system': expected a loopback address or a unix: socket"
    ):
        check_shared_memory(load_settings(host=host, shared_memory="system"))
    check_shared_memory(load_settings(host=host))


def test_server_without_a_collector_traces_nothing() -> None:
    assert open_traces(load_settings(), lambda _model: "") is None


def test_exporters_variable_that_cannot_be_used_is_rejected_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "a secret")
    with pytest.raises(SettingsError, match=r"^OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: expected a number") as caught:
        open_traces(load_settings(otlp_endpoint="http://127.0.0.1:4317"), lambda _model: "")
    assert "a secret" not in str(caught.value)


def test_exporters_error_of_any_kind_is_rejected_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES", "a secret")
    monkeypatch.setenv("_OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES", "a secret")
    with pytest.raises(SettingsError, match=r"^ZOO_OTLP_ENDPOINT: a variable OTEL_") as caught:
        open_traces(load_settings(otlp_endpoint="http://127.0.0.1:4317"), lambda _model: "")
    assert "secret" not in str(caught.value).lower()


def test_collector_without_the_packages_of_opentelemetry_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "service.observability.tracing.otlp", None)
    with pytest.raises(SettingsError, match=r"^ZOO_OTLP_ENDPOINT: the packages of OpenTelemetry are missing"):
        open_traces(load_settings(otlp_endpoint="http://127.0.0.1:4317"), lambda _model: "")


def test_port_that_grpc_does_not_open_under_tls_names_the_files_too() -> None:
    async def attempt() -> None:
        bind(aio.server(), load_settings(port=0), grpc.ssl_server_credentials([(b"no key", b"no certificate")]))

    with pytest.raises(
        SettingsError, match=r"or can gRPC not use the files of ZOO_TLS_CERT_FILE and ZOO_TLS_KEY_FILE\?$"
    ):
        asyncio.run(attempt())
