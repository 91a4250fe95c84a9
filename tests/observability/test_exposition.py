"""The scraper gets the format that its `Accept` header ranks first."""

from __future__ import annotations

import gzip

import pytest
from prometheus_client import CollectorRegistry, Gauge

from service.observability.exposition import PROTOBUF, Exposition, prefers_protobuf

FORM = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
TEXT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        (f"{FORM},{TEXT}", True),  # Prometheus 2.40 and later, with native histograms
        (
            f"{FORM};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.2,*/*;q=0.1",
            True,
        ),  # Prometheus 3
        (f"application/openmetrics-text;version=1.0.0;q=0.6,{FORM};q=0.5", False),
        (f"{TEXT},{FORM}", False),
        (f"text/plain;q=0.3,{FORM};q=0.4", True),
        (FORM.upper(), True),
        (FORM.replace("=delimited", '="delimited"'), True),
        (FORM.replace("delimited", "text"), False),
        ("application/vnd.google.protobuf", False),
        (f"{FORM};q=0", False),
        (f"{FORM};q=x", True),
        ("*/*", False),
        ("", False),
        (";;,=", False),
    ],
)
def test_protobuf_is_preferred_by_weight_then_by_order(accept: str, preferred: bool) -> None:
    page = pages().page({"HTTP_ACCEPT": accept, "REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"})
    assert (page[2] == b"packed") == preferred
    assert (dict(page[1])["Content-Type"] == PROTOBUF) == preferred
    if ";q=0" not in accept:
        assert prefers_protobuf(accept) == preferred


def test_scraper_gets_text_where_nothing_encodes() -> None:
    exposition = Exposition(one_gauge())
    status, headers, body = exposition.page({"HTTP_ACCEPT": FORM, "REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"})
    assert status == "200 OK"
    assert dict(headers)["Content-Type"].startswith("text/plain")
    assert b"x 0.0" in body


def test_protobuf_is_compressed_if_the_scraper_accepts_it() -> None:
    environ = {"HTTP_ACCEPT": FORM, "REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}
    _, headers, body = pages().page(environ | {"HTTP_ACCEPT_ENCODING": "gzip"})
    assert dict(headers)["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == b"packed"
    assert "Content-Encoding" not in dict(pages().page(environ | {"HTTP_ACCEPT_ENCODING": "gzip;q=0"})[1])


def test_request_for_some_metrics_is_answered_in_text() -> None:
    environ = {"HTTP_ACCEPT": FORM, "REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": "name%5B%5D=y"}
    assert b"x 0.0" not in pages().page(environ)[2]
    assert pages().page(environ | {"QUERY_STRING": "a=b"})[2] == b"packed"


def one_gauge() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)
    Gauge("x", "X.", registry=registry)
    return registry


def pages() -> Exposition:
    return Exposition(one_gauge(), lambda _: b"packed")
