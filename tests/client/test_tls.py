"""Both clients over TLS, with a token, and against a server that speaks something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from service.client import AsyncClient, Client, Retry, ServerUnreachable, Tls, Unavailable
from tests.support.certificates import DAY, Authority, Issued
from tests.support.fake_zoo.fine_tuning import BASE
from tests.support.fake_zoo.server import FakeZoo

CA, STRANGER = Authority(), Authority("Another CA")
SECRET = "zoo_abc_0123456789"
ONCE = Retry(attempts=1)


@contextmanager
def secured(pair: Issued, client_ca: bytes | None = None) -> Iterator[FakeZoo]:
    credentials = grpc.ssl_server_credentials([(pair.key, pair.cert)], client_ca, client_ca is not None)
    fake = FakeZoo(credentials)
    fake.start()
    try:
        yield fake
    finally:
        fake.stop()


@pytest.fixture(scope="module")
def secure_zoo() -> Iterator[FakeZoo]:
    with secured(CA.issue()) as fake:
        yield fake


@pytest.fixture(scope="module")
def mutual_zoo() -> Iterator[FakeZoo]:
    """Wants a certificate of clients."""
    with secured(CA.issue(), CA.pem) as fake:
        yield fake


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(CA.pem)
    return path


def error_of(target: str, tls: Tls | bool | None) -> Unavailable:
    with Client(target, retry=ONCE, tls=tls) as client, pytest.raises(Unavailable) as caught:
        client.ready()
    return caught.value


def test_blocking_client_calls_over_tls(secure_zoo: FakeZoo, ca_file: Path) -> None:
    with Client(secure_zoo.target, tls=Tls(ca_file)) as client:
        assert client.ready()
        assert client.status().ready


@pytest.mark.asyncio
async def test_asyncio_client_calls_over_tls(secure_zoo: FakeZoo, ca_file: Path) -> None:
    async with AsyncClient(secure_zoo.target, tls=Tls(ca_file)) as client:
        assert await client.ready()


def test_environment_gives_tls(secure_zoo: FakeZoo, ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_TLS_CA_FILE", str(ca_file))
    with Client(secure_zoo.target) as client:
        assert client.ready()


def test_cas_of_this_machine_are_those_that_openssl_finds(
    secure_zoo: FakeZoo, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    with Client(secure_zoo.target, tls=True) as client:
        assert client.ready()


def test_certificate_of_an_unknown_ca_is_not_trusted(secure_zoo: FakeZoo, tmp_path: Path) -> None:
    (tmp_path / "other.crt").write_bytes(STRANGER.pem)
    error = error_of(secure_zoo.target, Tls(tmp_path / "other.crt"))
    assert isinstance(error, ServerUnreachable)
    assert f"the certificate of {secure_zoo.target} cannot be trusted" in error.message


def test_expired_certificate_of_the_server_is_not_trusted(ca_file: Path) -> None:
    with secured(CA.issue(begins=-2 * DAY, lasts=-DAY)) as zoo:
        assert "cannot be trusted" in error_of(zoo.target, Tls(ca_file)).message


def test_certificate_for_another_name_is_not_trusted_unless_that_name_is_asked_for(ca_file: Path) -> None:
    with secured(CA.issue(hosts=("zoo.internal",))) as zoo:
        assert "the certificate of" in error_of(zoo.target, Tls(ca_file)).message
        with Client(zoo.target, tls=Tls(ca_file, server_name="zoo.internal")) as client:
            assert client.ready()


def test_client_with_a_certificate_is_let_in(mutual_zoo: FakeZoo, ca_file: Path, tmp_path: Path) -> None:
    cert, key = CA.issue("client", client=True).write(tmp_path, "client")
    with Client(mutual_zoo.target, tls=Tls(ca_file, cert, key)) as client:
        assert client.ready()


def test_client_without_a_certificate_is_told_that_the_server_wants_one(mutual_zoo: FakeZoo, ca_file: Path) -> None:
    assert "client certificate" in error_of(mutual_zoo.target, Tls(ca_file)).message


def test_client_with_a_certificate_of_another_ca_is_told_that_it_is_refused(
    mutual_zoo: FakeZoo, ca_file: Path, tmp_path: Path
) -> None:
    cert, key = STRANGER.issue("client", client=True).write(tmp_path, "client")
    assert "client certificate" in error_of(mutual_zoo.target, Tls(ca_file, cert, key)).message


# ── one side speaks TLS ───────────────────────────────────────────────────────────────────────────────────────────


def test_tls_client_of_a_plain_server_is_told_so(zoo: FakeZoo, ca_file: Path) -> None:
    error = error_of(zoo.target, Tls(ca_file))
    assert isinstance(error, ServerUnreachable)
    assert error.message == f"the server at {zoo.target} does not speak TLS, and the client does"


PLAIN_CALLS: list[Callable[[Client], object]] = [
    lambda client: client.ready(),
    lambda client: client.model("silero_vad"),
    lambda client: list(client.stream_predict("all_minilm_l6_v2", ["a cat"])),
    lambda client: list(client.watch_job("j1")),
]


@pytest.mark.parametrize("call", PLAIN_CALLS)
def test_plain_client_of_a_tls_server_is_told_so(secure_zoo: FakeZoo, call: Callable[[Client], object]) -> None:
    with Client(secure_zoo.target, retry=ONCE) as client, pytest.raises(ServerUnreachable) as caught:
        call(client)
    assert caught.value.message.startswith(
        f"the server at {secure_zoo.target} speaks TLS and the client does not; use "
    )


def test_status_of_a_tls_server_says_so_to_a_plain_client(secure_zoo: FakeZoo) -> None:
    with Client(secure_zoo.target, retry=ONCE) as client:
        status = client.status()
    assert not status.live
    assert "speaks TLS" in status.problem


@pytest.mark.asyncio
async def test_asyncio_client_is_told_that_the_server_speaks_tls(secure_zoo: FakeZoo) -> None:
    async with AsyncClient(secure_zoo.target, retry=ONCE) as client:
        with pytest.raises(ServerUnreachable, match="speaks TLS"):
            await client.model("silero_vad")


# ── the token ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_token_is_sent_with_every_call_and_stream(zoo: FakeZoo, photos: Path) -> None:
    with Client(zoo.target, token=SECRET, owner="ann") as client:
        client.status()
        client.predict("all_minilm_l6_v2", ["a cat"])
        list(client.stream_predict("all_minilm_l6_v2", ["a cat"]))
        dataset = client.upload_dataset(photos)
        job = client.create_job(BASE, dataset.id, "pets")
        for _ in client.watch_job(job.id):
            break
    sent = zoo.authorizations.by_method
    assert {"Check", "ListModels", "Predict", "StreamPredict", "UploadDataset", "CreateJob", "WatchJob"} <= sent.keys()
    assert {method: found for method, found in sent.items() if found != {f"Bearer {SECRET}"}} == {}
