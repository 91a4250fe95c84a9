"""Variables of the environment that OpenTelemetry's exporter reads, checked at the start of the server: the exporter ignores what
it cannot use, or logs it whole, and a value may be a key."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

PREFIXES = ("OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_")
"""Of a variable for everything that is exported, and of one for traces, which prevails."""

# A key of gRPC's metadata, and a value as the exporter takes it: no quotes, commas, semicolons and backslashes.
_HEADER = re.compile(r"[ \t]*([A-Za-z0-9_.\-]+)[ \t]*=([\x20\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*)")


def environment_problem(endpoint: str, environment: Mapping[str, str]) -> str:
    """The first problem as a sentence that names the variable and shows no value, or an empty text. `endpoint`: URL of the
    collector. Reads files."""
    for prefix in PREFIXES:
        problem = (
            _headers_problem(f"{prefix}HEADERS", environment)
            or _compression_problem(f"{prefix}COMPRESSION", environment)
            or (_files_problem(prefix, environment) if endpoint.startswith("https:") else "")
        )
        if problem:
            return problem
    return _number_problem("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", environment) or _attributes_problem(environment)


def _headers_problem(name: str, environment: Mapping[str, str]) -> str:
    for number, pair in enumerate(environment.get(name, "").split(","), 1):
        if not pair.strip():
            continue
        found = _HEADER.fullmatch(pair)
        if found is None:
            return (
                f"{name}: expected pairs key=value with commas between them, and other characters as %2C; "
                f"pair {number} is none"
            )
        if found[1].lower().endswith("-bin"):
            return f"{name}: pair {number} has a key that ends with -bin, which is for binary values alone"
        value = unquote(found[2])
        if not (value.isascii() and value.isprintable()):
            return f"{name}: the value of pair {number} has characters that a header cannot have"
    return ""


def _compression_problem(name: str, environment: Mapping[str, str]) -> str:
    if environment.get(name, "gzip").strip().lower() == "gzip":
        return ""
    return f"{name}: expected gzip, got another value; unset it to send without compression"


def _number_problem(name: str, environment: Mapping[str, str]) -> str:
    try:
        float(environment.get(name, "0"))
    except ValueError:
        return f"{name}: expected a number of seconds, got another value"
    return ""


def _files_problem(prefix: str, environment: Mapping[str, str]) -> str:
    names = [f"{prefix}{what}" for what in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")]
    authority, certificate, key = (environment.get(name, "") for name in names)
    if bool(certificate) != bool(key):
        there, missing = (names[1], names[2]) if certificate else (names[2], names[1])
        return f"{there}: a client certificate and its key belong together, and {missing} is not set"
    if certificate and not authority:
        return f"{names[1]}: the exporter uses it only together with {names[0]}, which is not set"
    for name in names:
        if (path := environment.get(name, "")) and (reason := _unreadable(path)):
            return f"{name}: the file cannot be read: {reason}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        try:
            context.load_verify_locations(cafile=authority)
        except (OSError, ValueError):
            return f"{names[0]}: the file has no certificate in PEM form"
    if certificate:
        try:
            context.load_cert_chain(certificate, key, password=lambda: "")  # or it would ask at the terminal
        except (OSError, ValueError):
            return f"{names[1]}: the files of the client certificate and its key are not a pair in PEM form"
    return ""


def _unreadable(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        return (error.strerror or "unknown reason").lower()
    except ValueError:
        return "that is no path"
    return ""


def _attributes_problem(environment: Mapping[str, str]) -> str:
    name = "OTEL_RESOURCE_ATTRIBUTES"
    for number, pair in enumerate(environment.get(name, "").split(","), 1):
        if pair.strip() and not pair.partition("=")[1]:
            return f"{name}: expected pairs key=value with commas between them; pair {number} is none"
    return ""
