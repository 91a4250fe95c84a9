"""The HTTP port under slow, silent and malformed clients, and under TLS."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from service.access.certificates import CertificateFiles
from service.access.tls import Tls
from service.errors import Unauthenticated
from service.observability import http_server as module
from service.observability.http import HttpAccess, HttpPort
from tests.support.certificates import DAY, Authority, Issued, write_key

PATIENCE_S = 30.0
CA, STRANGER = Authority(), Authority("Another CA")
REQUEST = b"GET /livez HTTP/1.1\r\nHost: zoo\r\n\r\n"


@contextmanager
def serving(
    access: HttpAccess | None = None, health: Callable[[], tuple[bool, bool]] = lambda: (True, True)
) -> Iterator[int]:
    """The number of a port that serves."""
    port = HttpPort("127.0.0.1", 0, CollectorRegistry(), health, access)
    port.start()
    try:
        yield port.port
    finally:
        port.stop()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    try:
        while data := connection.recv(65_536):
            received += data
    except ConnectionResetError:  # it closed with bytes of ours unread
        pass
    return received


def status_of(port: int, sent: bytes = REQUEST) -> int:
    """The status that a request has; 0 for none."""
    with connected(port) as connection:
        connection.sendall(sent)
        answer = read_all(connection)
    return int(answer.split()[1]) if answer else 0


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\nHost: z"])
def test_request_that_does_not_arrive_is_ended(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(module, "HEAD_TIMEOUT_S", 0.05)
    with serving() as port, connected(port) as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""
        monkeypatch.setattr(module, "HEAD_TIMEOUT_S", PATIENCE_S)
        assert status_of(port) == 200


def test_request_that_arrives_byte_by_byte_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout of each read would let it go on for ever."""
    monkeypatch.setattr(module, "HEAD_TIMEOUT_S", 0.3)
    with serving() as port, connected(port) as connection:
        connection.settimeout(0.02)
        ended = False
        for _ in range(3000):
            try:
                connection.sendall(b"x")
                if connection.recv(1) == b"":
                    ended = True
                    break
            except TimeoutError:
                continue
            except OSError:
                ended = True
                break
        assert ended


def test_client_that_does_not_read_the_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.3)
    finished = threading.Event()
    end = module.BoundedServer._end

    def noted(server: module.BoundedServer, connection: module._Connection) -> None:
        end(server, connection)
        finished.set()

    monkeypatch.setattr(module.BoundedServer, "_end", noted)
    long = HttpAccess(authorize=lambda *_: Unauthenticated("x" * 50_000_000))  # more than the kernel's buffers take
    with serving(long) as port, connected(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert finished.wait(PATIENCE_S)


# ── number ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_silent_connections_up_to_the_bound_do_not_keep_a_probe_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 4)
    with serving() as port, ExitStack() as stack:
        silent = [stack.enter_context(connected(port)) for _ in range(10)]
        assert status_of(port) == 200
        assert read_all(silent[0]) == b"", "the oldest made way"


def test_connections_that_are_being_answered_are_not_ended_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
    begun, gate = threading.Semaphore(0), threading.Event()

    def health() -> tuple[bool, bool]:
        begun.release()
        assert gate.wait(PATIENCE_S)
        return True, True

    with serving(health=health) as port, ExitStack() as stack:
        answered = [stack.enter_context(connected(port)) for _ in range(2)]
        for connection in answered:
            connection.sendall(REQUEST)
            assert begun.acquire(timeout=PATIENCE_S)
        assert status_of(port) == 0, "there is no room"
        gate.set()
        assert [read_all(connection).split()[1] for connection in answered] == [b"200", b"200"]


def test_threads_end_with_their_connections() -> None:
    def count() -> int:
        return sum(thread.name == "http-connection" for thread in threading.enumerate())

    with serving() as port:
        for _ in range(20):
            assert status_of(port) == 200
        with ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(connected(port))
        deadline = time.monotonic() + PATIENCE_S
        while count() and time.monotonic() < deadline:
            for thread in threading.enumerate():
                if thread.name == "http-connection":
                    with suppress(RuntimeError):  # it is about to start
                        thread.join(PATIENCE_S)
        assert count() == 0


# ── size and form ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nX: " + b"a" * 17_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 300) for i in range(90)) + b"\r\n",
        b"GET /livez HTTP/1.1\r\nAuthorization: " + b"a" * 1_000_000,
    ],
    ids=["line", "header", "many headers", "a megabyte"],
)
def test_head_that_is_too_large_is_refused(head: bytes) -> None:
    with serving() as port:
        assert status_of(port, head) in (431, 0)  # 0: the connection was reset while the client still wrote
        assert status_of(port) == 200


def test_many_small_headers_are_refused() -> None:
    head = b"GET /livez HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % i for i in range(200)) + b"\r\n"
    with serving() as port:
        assert status_of(port, head) == 431


@pytest.mark.parametrize(
    "line", [b"nonsense", b"GET /livez HTTP/9.9", b"GET /livez http", b"<script> </script> HTTP/1.1 x", b"\xff\xfe\x00"]
)
def test_malformed_request_is_refused_without_repeating_it(line: bytes) -> None:
    with serving() as port, connected(port) as connection:
        connection.sendall(line + b"\r\n\r\n")
        answer = read_all(connection)
        assert answer.split()[1][:1] in (b"4", b"5")
        assert line not in answer
        assert b"Python" not in answer


def test_answers_do_not_name_the_software_behind_them() -> None:
    with serving() as port, connected(port) as connection:
        connection.sendall(REQUEST)
        answer = read_all(connection)
    assert b"Python" not in answer
    assert b"WSGI" not in answer


def test_clients_that_leave_at_any_moment_are_not_logged_as_errors(capfd: pytest.CaptureFixture[str]) -> None:
    with structlog.testing.capture_logs() as lines, serving() as port:
        for sent in (b"", b"GET", REQUEST, b"\x16\x03\x01"):
            with connected(port) as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # reset
                rude.sendall(sent)
        assert status_of(port) == 200
    assert "Traceback" not in capfd.readouterr().err
    assert not [line for line in lines if line["log_level"] != "debug"]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("GET /metrics?token=zoo_Ab1_secret HTTP/1.1", "/metrics"),
        ("GET /metrics#zoo_Ab1_secret HTTP/1.1", "another"),
        ("GET /zoo_Ab1_secret HTTP/1.1", "another"),
        ("GET http://zoo_Ab1_secret@host/metrics HTTP/1.1", "another"),
        ("zoo_Ab1_secret /metrics HTTP/1.1", "/metrics"),
        ("GET /metrics zoo_Ab1_secret HTTP/1.1", None),
        ("GET /metrics zoo_Ab1_secret", None),
        ("zoo_Ab1_secret", None),
    ],
)
def test_token_in_a_request_line_is_not_logged(line: str, path: str | None) -> None:
    with structlog.testing.capture_logs() as lines, serving() as port:
        assert status_of(port, f"{line}\r\nHost: zoo\r\n\r\n".encode()) in (200, 400, 404, 405, 501)
    assert "secret" not in str(lines)
    if path is not None:
        assert path in [each.get("path") for each in lines]


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def secured(folder: Path, client_ca: bytes | None = None) -> Iterator[tuple[int, Tls]]:
    cert, key = CA.issue("first").write(folder, "server")
    ca = None
    if client_ca is not None:
        ca = folder / "ca.crt"
        ca.write_bytes(client_ca)
    tls = Tls(CertificateFiles(cert, key, ca))
    access = HttpAccess(context=lambda: tls.context, certificate_required=client_ca is not None)
    with serving(access) as port:
        yield port, tls


def https(port: int, path: str, client: Path | None = None, **limits: ssl.TLSVersion) -> tuple[int, str]:
    """Status and page of a request. `client`: a folder with client.crt and client.key."""
    context = ssl.create_default_context(cadata=CA.pem.decode())
    for name, value in limits.items():
        setattr(context, name, value)
    if client is not None:
        context.load_cert_chain(client / "client.crt", client / "client.key")
    connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE_S, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def client_in(folder: Path, pair: Issued) -> Path:
    pair.write(folder, "client")
    return folder


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_pages_are_served_over_modern_tls(tmp_path: Path, version: ssl.TLSVersion) -> None:
    with secured(tmp_path) as (port, _):
        for path in ("/livez", "/readyz", "/healthz", "/metrics"):
            assert https(port, path, minimum_version=version, maximum_version=version)[0] == 200


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        secured(tmp_path) as (port, _),
        connected(port) as plain,
        pytest.raises(OSError, match=r"(?i)protocol|alert|reset"),
    ):
        context.wrap_socket(plain)


def test_plain_request_to_the_tls_port_is_told_so(tmp_path: Path) -> None:
    with secured(tmp_path) as (port, _), connected(port) as connection:
        connection.sendall(REQUEST)
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.0 400 ")
        assert answer.endswith(b"This port speaks HTTPS.\n")


def test_handshake_that_does_not_go_on_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "HEAD_TIMEOUT_S", 0.2)
    with secured(tmp_path) as (port, _), connected(port) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00")
        read_all(connection)
        monkeypatch.setattr(module, "HEAD_TIMEOUT_S", PATIENCE_S)
        assert https(port, "/livez")[0] == 200


def test_new_certificate_is_shown_to_the_next_connection(tmp_path: Path) -> None:
    with secured(tmp_path) as (port, tls):
        before = ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE_S)
        second = CA.issue("second")
        (tmp_path / "server.crt").write_bytes(second.cert)
        write_key(tmp_path / "server.key", second.key)
        tls.check()
        assert ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE_S) != before
        assert https(port, "/livez")[0] == 200


def test_probes_need_no_client_certificate_and_metrics_do(tmp_path: Path) -> None:
    with secured(tmp_path, CA.pem) as (port, _):
        for probe in ("/livez", "/readyz", "/healthz"):
            assert https(port, probe)[0] == 200
        assert https(port, "/metrics") == (403, "/metrics needs a client certificate.\n")
        mine = client_in(tmp_path, CA.issue("client", client=True))
        assert https(port, "/metrics", mine)[0] == 200


@pytest.mark.parametrize(
    "pair",
    [
        STRANGER.issue("client", client=True),
        CA.issue("client", client=True, begins=-2 * DAY, lasts=-DAY),
        CA.issue("server", client=False),
    ],
    ids=["another CA", "expired", "for servers"],
)
@pytest.mark.parametrize("path", ["/metrics", "/livez"])
def test_client_certificate_that_is_not_valid_is_refused_on_every_page(tmp_path: Path, path: str, pair: Issued) -> None:
    with secured(tmp_path, CA.pem) as (port, _):
        with pytest.raises(OSError, match=r"(?i)alert|eof|reset|closed|unknown ca|expired|unsupported|broken pipe"):
            https(port, path, client_in(tmp_path, pair))
        assert https(port, path)[0] in (200, 403)
