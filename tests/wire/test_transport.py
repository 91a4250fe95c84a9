"""The gRPC port under TLS, in front of both kinds of methods: whom it lets in, and how its certificate changes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from grpc import aio

from service.access.certificates import CertificateFiles
from service.access.tls import Tls
from service.wire.transport import SESSIONS_END_S, server_credentials
from tests.support.certificates import DAY, Authority, Issued, write_key
from tests.support.wire.frontend_methods import UNARY, Methods
from tests.support.wire.frontends import served_port

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("each_frontend")]

CA, STRANGER = Authority(), Authority("Another CA")
PATIENCE_S = 60.0
BESIDE = "/test.Other/Unary"
"""A method of grpc.aio."""


class _Other(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:  # type: ignore[type-arg]
        async def answer(request: bytes, _: object) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(answer) if details.method in (BESIDE, UNARY) else None


@dataclass
class Secured:
    """A server under TLS, whose files a test may replace."""

    files: CertificateFiles
    tls: Tls
    port: int

    def put(self, pair: Issued) -> None:
        """Replaces certificate and key, and lets the server look at them."""
        self.files.cert.write_bytes(pair.cert)
        write_key(self.files.key, pair.key)
        self.tls.check()

    async def call(self, roots: bytes = CA.pem, client: Issued | None = None, name: str = "localhost") -> list[bytes]:
        """Answers of both methods over a new connection."""
        credentials = grpc.ssl_channel_credentials(roots, client and client.key, client and client.cert)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", name)]
        async with aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as channel:
            return [await channel.unary_unary(method)(b"x", timeout=PATIENCE_S) for method in (UNARY, BESIDE)]

    async def refuses(self, client: Issued | None = None, **arguments: bytes) -> str:
        """The details of the error of a call over a new connection."""
        with pytest.raises(aio.AioRpcError) as caught:
            await self.call(client=client, **arguments)  # type: ignore[arg-type]
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        return caught.value.details() or ""


@asynccontextmanager
async def secured(
    folder: Path,
    client_ca: bytes | None = None,
    pair: Issued | None = None,
    options: Sequence[tuple[str, int]] = (),
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Secured]:
    cert, key = (pair or CA.issue("first")).write(folder, "server")
    ca = None
    if client_ca is not None:
        ca = folder / "ca.crt"
        ca.write_bytes(client_ca)
    files = CertificateFiles(cert, key, ca)
    tls = Tls(files)
    server = aio.server(options=options)
    server.add_generic_rpc_handlers((_Other(),))
    credentials = server_credentials(lambda: tls.certificate, clock)
    async with served_port(server, Methods(), credentials=credentials) as port:
        yield Secured(files, tls, port.number)


def shown(port: int, *, version: ssl.TLSVersion | None = None, protocols: tuple[str, ...] = ("h2",)) -> ssl.SSLSocket:
    """A finished handshake with the server, whatever its certificate. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    if version is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE_S))


async def serial(port: int) -> bytes:
    """The certificate that a new connection is shown."""

    def read() -> bytes:
        with shown(port) as connection:
            return connection.getpeercert(binary_form=True) or b""

    return await asyncio.to_thread(read)


async def test_both_kinds_of_methods_answer_over_tls(tmp_path: Path) -> None:
    async with secured(tmp_path) as server:
        assert await server.call() == [b"x", b"x"]


async def test_client_that_does_not_trust_the_ca_or_wants_another_name_does_not_call(tmp_path: Path) -> None:
    async with secured(tmp_path) as server:
        assert "CERTIFICATE_VERIFY_FAILED" in await server.refuses(roots=STRANGER.pem)
        assert await server.refuses(name="zoo.example")  # type: ignore[arg-type]
        assert await server.call() == [b"x", b"x"]


async def test_plain_client_is_not_answered(tmp_path: Path) -> None:
    async with secured(tmp_path) as server, aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary(UNARY)(b"x", timeout=PATIENCE_S)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
async def test_old_tls_is_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async with secured(tmp_path) as server:
        with pytest.raises(OSError, match=r"(?i)protocol|alert|reset"):
            await asyncio.to_thread(shown, server.port, version=version)


async def test_tls_1_2_is_taken_with_forward_secrecy_and_http_2(tmp_path: Path) -> None:
    async with secured(tmp_path) as server:
        connection = await asyncio.to_thread(shown, server.port, version=ssl.TLSVersion.TLSv1_2)
        with connection:
            cipher, version, _ = connection.cipher() or ("", "", 0)
            assert version == "TLSv1.2"
            assert cipher.startswith("ECDHE-")
            assert connection.selected_alpn_protocol() == "h2"


async def test_handshake_that_does_not_go_on_is_ended(tmp_path: Path) -> None:
    async with secured(tmp_path, options=[("grpc.server_handshake_timeout_ms", 100)]) as server:
        for sent in (b"", b"\x16\x03\x01\x02\x00"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(sent)
            async with asyncio.timeout(PATIENCE_S):
                assert await reader.read() == b""
            writer.close()
        assert await server.call() == [b"x", b"x"]


# ── clients with certificates ─────────────────────────────────────────────────────────────────────────────────────


async def test_client_with_a_certificate_of_the_ca_is_let_in(tmp_path: Path) -> None:
    async with secured(tmp_path, CA.pem) as server:
        assert await server.call(client=CA.issue("client", client=True)) == [b"x", b"x"]


@pytest.mark.parametrize(
    "client",
    [
        None,
        STRANGER.issue("client", client=True),
        CA.issue("client", client=True, begins=-2 * DAY, lasts=-DAY),
        CA.issue("client", client=True, begins=DAY, lasts=2 * DAY),
        CA.issue("server", client=False),
    ],
    ids=["none", "another CA", "expired", "not yet valid", "for servers"],
)
async def test_client_without_a_valid_certificate_of_the_ca_is_refused(tmp_path: Path, client: Issued | None) -> None:
    async with secured(tmp_path, CA.pem) as server:
        await server.refuses(client)
        assert await server.call(client=CA.issue("client", client=True)) == [b"x", b"x"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("client_ca", [CA.pem, None], ids=["client certificates", "none"])
async def test_session_of_a_client_with_a_certificate_ends_in_time(
    tmp_path: Path, version: ssl.TLSVersion, client_ca: bytes | None
) -> None:
    """A session that is resumed does not check the certificate again, which may have expired."""
    now = 0.0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*CA.issue("client", client=True).write(tmp_path, "client"))

    async with secured(tmp_path, client_ca, clock=lambda: now) as server:

        def connect(session: ssl.SSLSession | None = None) -> tuple[bool | None, ssl.SSLSession | None]:
            plain = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
            with context.wrap_socket(plain, session=session) as connection:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
                assert len(connection.recv(9)) == 9  # TLS 1.3 gives the session with the first data
                return connection.session_reused, connection.session

        _, session = await asyncio.to_thread(connect)
        now = SESSIONS_END_S - 1
        assert (await asyncio.to_thread(connect, session))[0] is True
        now = SESSIONS_END_S
        assert (await asyncio.to_thread(connect, session))[0] is (client_ca is None)
        assert await server.call(client=CA.issue("client", client=True)) == [b"x", b"x"]


async def test_client_of_an_intermediate_ca_that_is_the_trusted_one_is_let_in_on_both_ports(tmp_path: Path) -> None:
    middle = Authority("Intermediate CA", parent=CA)
    pair = middle.issue("client", client=True)
    async with secured(tmp_path, middle.pem) as server:
        assert await server.call(client=pair) == [b"x", b"x"]
        context = ssl.create_default_context(cadata=CA.pem.decode())
        context.load_cert_chain(*pair.write(tmp_path, "client"))
        assert _shakes_hands(server.tls.context, context)


def _shakes_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether both ends of a handshake in memory accept each other. Raises ssl.SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname="localhost"),
        server.wrap_bio(up, down, server_side=True),
    ]
    finished: set[int] = set()
    for _ in range(10):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                finished.add(number)
            except ssl.SSLWantReadError:
                continue
    return len(finished) == 2


# ── reload ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_new_certificate_is_shown_to_new_connections_and_old_connections_go_on(tmp_path: Path) -> None:
    async with secured(tmp_path) as server:
        before = await serial(server.port)
        credentials = grpc.ssl_channel_credentials(CA.pem)
        async with aio.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel:
            assert await channel.unary_unary(UNARY)(b"1") == b"1"
            server.put(CA.issue("second"))
            after = await serial(server.port)
            assert after != before
            assert await channel.unary_unary(UNARY)(b"2") == b"2"
        assert await serial(server.port) == after
        assert await server.call() == [b"x", b"x"]


@pytest.mark.parametrize(
    "pair",
    [
        CA.issue(begins=-2 * DAY, lasts=-DAY),
        Issued(b"damaged", CA.issue().key),
        Issued(CA.issue().cert, CA.issue().key),
    ],
    ids=["expired", "damaged", "a strange key"],
)
async def test_pair_that_cannot_be_used_is_never_shown(tmp_path: Path, pair: Issued) -> None:
    async with secured(tmp_path) as server:
        before = await serial(server.port)
        server.put(pair)
        assert await serial(server.port) == before
        server.tls.check()
        assert await serial(server.port) == before
        server.put(CA.issue("third"))
        assert await serial(server.port) != before


async def test_new_ca_of_clients_lets_its_clients_in_and_no_others(tmp_path: Path) -> None:
    mine, theirs = CA.issue("client", client=True), STRANGER.issue("client", client=True)
    async with secured(tmp_path, CA.pem) as server:
        assert await server.call(client=mine) == [b"x", b"x"]
        assert server.files.client_ca is not None
        server.files.client_ca.write_bytes(STRANGER.pem)
        server.tls.check()
        assert await server.call(client=theirs) == [b"x", b"x"]
        await server.refuses(mine)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        rsa.generate_private_key(3, 2048),
        ec.generate_private_key(ec.SECP384R1()),
    ],
    ids=["RSA", "RSA with the exponent 3", "P-384"],
)
async def test_every_kind_of_key_that_is_accepted_serves(tmp_path: Path, key: object) -> None:
    async with secured(tmp_path, pair=CA.issue(key=key)) as server:
        assert await server.call() == [b"x", b"x"]
