"""The HTTP port: two pages, and nothing that a stranger sends disturbs it."""

import gzip
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from service.errors import NotReady, PermissionDenied, RateLimited, Unauthenticated, ZooError
from service.observability.http import HttpAccess, HttpPort
from service.observability.metrics import Metrics
from service.observability.recorder import Call, Recorder
from service.observability.statistics import Statistics

PATIENCE_S = 20.0
Health = Callable[[], tuple[bool, bool]]


@contextmanager
def serving(
    health: Health = lambda: (True, True), host: str = "127.0.0.1", access: HttpAccess | None = None
) -> Iterator[tuple[HttpPort, Recorder]]:
    registry = CollectorRegistry()
    recorder = Recorder(Metrics(registry), Statistics())
    port = HttpPort(host, 0, registry, health, access)
    port.start()
    try:
        yield port, recorder
    finally:
        port.stop()


def get(port: HttpPort, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(host, port.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def test_metrics_are_served_in_the_prometheus_format() -> None:
    with serving() as (port, recorder):
        recorder.call_finished(Call("m", "1"), "Predict", "OK", 0.1)
        status, kind, page = get(port, "/metrics")
        assert status == 200
        assert kind.startswith("text/plain")
        families = {family.name: family for family in text_string_to_metric_families(page)}
        (sample,) = [s for s in families["zoo_requests"].samples if s.name == "zoo_requests_total"]
        assert sample.labels == {"model": "m", "version": "1", "method": "Predict", "code": "OK"}
        assert sample.value == 1


def exchange(
    port: HttpPort, path: str, method: str = "GET", headers: list[tuple[str, str]] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port.port, timeout=PATIENCE_S)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers or []:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


PLAIN, OPEN = "text/plain", "application/openmetrics-text"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (["text/plain; version=x"], PLAIN),
        (["text/plain;version=1.x"], PLAIN),
        (["text/plain;version=0.0.4"], PLAIN),
        (["text/plain;version=1.0.0;escaping=allow-utf-8"], PLAIN),
        (["text/plain;version=1.0.0;escaping=?"], PLAIN),
        (['text/plain;version="0.0.4"'], PLAIN),
        (["application/openmetrics-text; version=x"], PLAIN),
        (["application/openmetrics-text"], OPEN),
        (["application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"], OPEN),
        (["application/openmetrics-text;version=0.0.1;q=0.75, text/plain;version=0.0.4;q=0.5"], PLAIN),
        (["text/plain; version=x, application/openmetrics-text; version=1.0.0"], OPEN),
        (["text/plain; version=x", "application/openmetrics-text; version=1.0.0"], OPEN),
        (["application/openmetrics-text;q=0, text/plain"], PLAIN),
        (["application/openmetrics-text;version=;q=x"], OPEN),
        (["*/*;q=0"], PLAIN),
        (["*/*"], PLAIN),
        (["application/json"], PLAIN),
        ([""], PLAIN),
        ([",,;;=,"], PLAIN),
        (["=;version"], PLAIN),
        (["\xe9; version=\xb2"], PLAIN),
        (["text/plain;" * 500], PLAIN),
        ([], PLAIN),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_metrics_respond_with_200_for_any_accept_header(method: str, accept: list[str], kind: str) -> None:
    with serving() as (port, recorder):
        recorder.call_finished(Call("m", "1"), "Predict", "OK", 0.1)
        status, headers, page = exchange(port, "/metrics", method, [("Accept", value) for value in accept])
        assert status == 200
        assert headers["content-type"].startswith(kind)
        if method == "HEAD":
            assert page == b""
            assert int(headers["content-length"]) > 1000, "that of the page which GET gives"
        else:
            assert int(headers["content-length"]) == len(page)
            assert b"zoo_requests_total{" in page
            assert page.endswith(b"# EOF\n") == (kind == OPEN)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("identity", False), ("", False)],
)
def test_metrics_are_compressed_if_the_client_accepts_gzip(accepted: str, packed: bool) -> None:
    with serving() as (port, _):
        status, headers, page = exchange(port, "/metrics", headers=[("Accept-Encoding", accepted)])
        assert status == 200
        assert (headers.get("content-encoding") == "gzip") == packed
        assert b"# HELP" in (gzip.decompress(page) if packed else page)


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/healthz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "NONSENSE"])
def test_unsafe_method_is_rejected_with_the_allowed_methods(path: str, method: str) -> None:
    with serving() as (port, _):
        status, headers, _ = exchange(port, path, method)
        assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_head_request_of_health_has_status_without_body() -> None:
    health = [True]
    with serving(lambda: (health[0], health[0])) as (port, _):
        assert exchange(port, "/healthz", "HEAD")[::2] == (200, b"")
        health[0] = False
        assert exchange(port, "/healthz", "HEAD")[::2] == (503, b"")
        assert exchange(port, "/elsewhere", "HEAD")[::2] == (404, b"")


def test_failing_page_responds_with_500_and_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> tuple[bool, bool]:
        raise RuntimeError("a secret")

    with serving(broken) as (port, _):
        status, _, page = exchange(port, "/healthz")
        assert status == 500
        assert b"secret" not in page
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("health", "status"), [((True, True), 200), ((True, False), 200), ((False, False), 503), ((False, True), 503)]
)
def test_health_status_reflects_live_and_ready(health: tuple[bool, bool], status: int) -> None:
    with serving(lambda: health) as (port, _):
        code, kind, page = get(port, "/healthz")
        assert (code, kind) == (status, "application/json")
        assert json.loads(page) == {"live": health[0], "ready": health[1]}


@pytest.mark.parametrize("health", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize(("path", "index", "word"), [("/livez", 0, "live"), ("/readyz", 1, "ready")])
def test_probe_is_200_or_503(path: str, index: int, word: str, health: tuple[bool, bool]) -> None:
    with serving(lambda: health) as (port, _):
        status, kind, page = get(port, path)
        assert kind == "text/plain; charset=utf-8"
        assert (status, page) == ((200, f"{word}\n") if health[index] else (503, f"not {word}\n"))
        assert exchange(port, path, "HEAD")[::2] == (status, b"")


# ── who may read the metrics ──────────────────────────────────────────────────────────────────────────────────────


def test_metrics_are_absent_where_they_are_off_and_probes_stay() -> None:
    with serving(access=HttpAccess(metrics=False)) as (port, _):
        status, _, page = get(port, "/metrics")
        assert (status, page) == (404, "This port serves /livez, /readyz and /healthz.\n")
        assert get(port, "/readyz")[0] == 200


def test_authorization_decides_about_the_metrics_and_not_about_probes() -> None:
    asked: list[tuple[str | None, str]] = []

    def authorize(authorization: str | None, peer: str) -> ZooError | None:
        asked.append((authorization, peer))
        return None if authorization == "Bearer good" else Unauthenticated("expected a token")

    with serving(access=HttpAccess(authorize=authorize)) as (port, _):
        for value in ([], [("Authorization", "Bearer bad")], [("Authorization", "Bearer good")] * 2):
            status, headers, page = exchange(port, "/metrics", headers=value)
            assert (status, headers["www-authenticate"], page) == (401, "Bearer", b"expected a token\n")
        assert exchange(port, "/metrics", headers=[("authorization", "Bearer good")])[0] == 200
        assert [get(port, probe)[0] for probe in ("/livez", "/readyz", "/healthz")] == [200, 200, 200]
    peer = "ipv4:127.0.0.1:0"
    assert asked == [(None, peer), ("Bearer bad", peer), ("Bearer good,Bearer good", peer), ("Bearer good", peer)]


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (PermissionDenied("the token does not permit it"), 403, None),
        (RateLimited("too many", 1.5), 429, "2"),
        (NotReady("the database does not answer"), 503, None),
    ],
)
def test_refusal_of_the_metrics_has_the_status_of_its_reason(error: ZooError, status: int, header: str | None) -> None:
    with serving(access=HttpAccess(authorize=lambda *_: error)) as (port, _):
        found, headers, page = exchange(port, "/metrics")
        assert (found, headers.get("retry-after"), page.decode()) == (status, header, f"{error.message}\n")


def test_token_in_the_url_is_not_accepted() -> None:
    access = HttpAccess(authorize=lambda authorization, _: None if authorization else Unauthenticated("no token"))
    with serving(access=access) as (port, _):
        assert get(port, "/metrics?access_token=good&authorization=Bearer%20good")[0] == 401


def test_health_is_evaluated_at_every_request() -> None:
    ready = [False]
    with serving(lambda: (True, ready[0])) as (port, _):
        assert not json.loads(get(port, "/healthz")[2])["ready"]
        ready[0] = True
        assert json.loads(get(port, "/healthz")[2])["ready"]


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metricsx", "/healthz/../etc/passwd", "/favicon.ico"])
def test_unknown_path_responds_with_404(path: str) -> None:
    with serving() as (port, _):
        status, _, page = get(port, path)
        assert status == 404
        assert "/metrics, /livez, /readyz and /healthz" in page


def test_unknown_path_is_not_echoed_in_the_response() -> None:
    with serving() as (port, _):
        assert "script" not in get(port, "/<script>")[2]


def test_port_in_use_is_an_error_at_construction() -> None:
    with serving() as (port, _), pytest.raises(OSError, match="in use"):
        HttpPort("127.0.0.1", port.port, CollectorRegistry(), lambda: (True, True))


def test_stop_closes_the_port_even_without_start() -> None:
    never = HttpPort("127.0.0.1", 0, CollectorRegistry(), lambda: (True, True))
    with serving() as (port, _):
        get(port, "/healthz")
    never.stop()
    for stopped in (never, port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", stopped.port), timeout=PATIENCE_S)


def test_slow_client_does_not_block_another() -> None:
    with serving() as (port, _), socket.create_connection(("127.0.0.1", port.port), timeout=PATIENCE_S) as silent:
        silent.sendall(b"GET /metr")
        assert get(port, "/healthz")[0] == 200


def test_connection_reset_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    asked = threading.Event()

    def health() -> tuple[bool, bool]:
        asked.set()
        return True, True

    with serving(health) as (port, _):
        for sent in (b"\x16\x03\x01\x02\x00", b"GET /healthz HTTP/1.1\r\n\r\n", b"\r\n", b"nonsense\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port.port), timeout=PATIENCE_S) as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # reset
                rude.sendall(sent)
        assert asked.wait(PATIENCE_S)
        assert get(port, "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_ipv6_address_is_served() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(host="::1") as (port, _):
        assert get(port, "/healthz", host="::1")[0] == 200
