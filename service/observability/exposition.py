"""The page of `/metrics`: which format the scraper gets, by its `Accept` header.

The text formats (Prometheus's, and OpenMetrics with exemplars) are those of prometheus_client. A scraper that prefers
Prometheus's protobuf format, as a Prometheus server with native histograms does, gets that one.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
_PROTOBUF_TYPE = "application/vnd.google.protobuf"
_PROTOBUF_FORM = {"proto": "io.prometheus.client.metricfamily", "encoding": "delimited"}
_TEXT_TYPES = ("application/openmetrics-text", "text/plain")
Header = tuple[str, str]
Page = tuple[str, list[Header], bytes]
"""Status, headers, body."""


class Exposition:
    """Pages of the metrics of one registry. From any thread."""

    def __init__(self, registry: CollectorRegistry, encode: Callable[[Collector], bytes] | None = None) -> None:
        """`encode` writes the protobuf format; without it every scraper gets text."""
        self._registry = registry
        self._encode = encode
        self._text = make_wsgi_app(registry)

    def page(self, environ: dict[str, Any]) -> Page:
        """The page for a GET or HEAD request of WSGI."""
        accept = without_refused(environ.get("HTTP_ACCEPT", ""))
        encoding = without_refused(environ.get("HTTP_ACCEPT_ENCODING", ""))
        named = "name[]" in parse_qs(environ.get("QUERY_STRING", ""))  # some metrics only, which the library picks out
        if self._encode is not None and prefers_protobuf(accept) and not named:
            headers, body = [("Content-Type", PROTOBUF)], self._encode(self._registry)
            if gzip_accepted(encoding):
                headers, body = [*headers, ("Content-Encoding", "gzip")], gzip.compress(body)
            return "200 OK", headers, body
        request = environ | {
            "REQUEST_METHOD": "GET",
            "HTTP_ACCEPT": readable_accept(accept),
            "HTTP_ACCEPT_ENCODING": encoding,
        }
        response: list[Any] = []
        parts: Iterable[bytes] = self._text(request, lambda *start: response.extend(start))
        status, headers = response
        return status, headers, b"".join(parts)


def prefers_protobuf(accept: str) -> bool:
    """Whether an `Accept` header ranks the protobuf format before the text formats: by weight, then by order."""
    best, found = -1.0, False
    for part in accept.split(","):
        kind, parameters = _parsed(part)
        is_protobuf = kind == _PROTOBUF_TYPE and _PROTOBUF_FORM.items() <= parameters.items()
        weight = _weight(parameters)
        if (is_protobuf or kind in _TEXT_TYPES) and weight > best:
            best, found = weight, is_protobuf
    return found


def readable_accept(accept: str) -> str:
    """An `Accept` header without the parts that the library cannot parse, such as `text/plain; version=x`. For an empty header
    the library answers in the plain text format."""
    return ",".join(part for part in accept.split(",") if _is_readable(part))


def without_refused(header: str) -> str:
    """A header of preferences without the parts of `q=0`, which the library would treat as accepted."""
    return ",".join(part for part in header.split(",") if _weight(_parsed(part)[1]) > 0)


def _is_readable(accepted: str) -> bool:
    try:
        choose_encoder(accepted)
    except Exception:  # the library raises many types on headers it does not expect
        return False
    return True


def _parsed(part: str) -> tuple[str, dict[str, str]]:
    """The type and the parameters of one part of a header, in lower case."""
    kind, *parameters = part.lower().split(";")
    pairs = (parameter.partition("=")[::2] for parameter in parameters)
    return kind.strip(), {name.strip(): value.strip().strip('"') for name, value in pairs}


def _weight(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 1.0
