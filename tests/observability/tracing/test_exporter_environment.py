"""The exporter's variables: what it could not use, or would log whole, is named before the server starts."""

from pathlib import Path

import pytest

from service.observability.tracing.exporter_environment import environment_problem
from tests.support.certificates import Authority

PLAIN, TLS = "http://collector:4317", "https://collector:4317"
OTLP = "OTEL_EXPORTER_OTLP_"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {f"{OTLP}HEADERS": "", "OTEL_RESOURCE_ATTRIBUTES": ""},
        {f"{OTLP}HEADERS": "x-key=abc, Authorization=Basic%20abc==,"},
        {f"{OTLP}HEADERS": "authorization=Bearer a b"},
        {f"{OTLP}COMPRESSION": "gzip"},
        {f"{OTLP}TRACES_COMPRESSION": " GZIP "},
        {f"{OTLP}TRACES_TIMEOUT": "2.5"},
        {f"{OTLP}CERTIFICATE": "/missing"},  # no TLS is used
        {"OTEL_RESOURCE_ATTRIBUTES": "a=b,c=,"},
    ],
)
def test_environment_that_can_be_used_is_accepted(environment: dict[str, str]) -> None:
    assert environment_problem(PLAIN, environment) == ""


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        (
            f"{OTLP}HEADERS",
            "x-key:SECRET",
            "expected pairs key=value with commas between them, and other characters as %2C; pair 1",
        ),
        (f"{OTLP}HEADERS", "x-key=SE;CRET", "pair 1 is none"),
        (f"{OTLP}TRACES_HEADERS", "a=1,SECRET", "pair 2 is none"),
        (f"{OTLP}HEADERS", "SECRET key=1", "pair 1 is none"),
        (f"{OTLP}HEADERS", "a=SECRÊT", "pair 1 is none"),
        (f"{OTLP}HEADERS", "a=SECRET%0A", "the value of pair 1 has characters that a header cannot have"),
        (f"{OTLP}HEADERS", "a-bin=SECRET", "pair 1 has a key that ends with -bin"),
        (f"{OTLP}COMPRESSION", "SECRET", "expected gzip, got another value"),
        (f"{OTLP}TRACES_COMPRESSION", "deflate", "expected gzip, got another value"),
        (f"{OTLP}COMPRESSION", "", "unset it to send without compression"),
        (f"{OTLP}TRACES_TIMEOUT", "SECRET", "expected a number of seconds, got another value"),
        (f"{OTLP}CERTIFICATE", "/missing/SECRET", "the file cannot be read: no such file or directory"),
        (f"{OTLP}TRACES_CERTIFICATE", "/", "the file cannot be read: is a directory"),
        (f"{OTLP}CERTIFICATE", "/dev/null", "the file has no certificate in PEM form"),
        (f"{OTLP}CLIENT_KEY", "/SECRET", f"{OTLP}CLIENT_CERTIFICATE is not set"),
        (f"{OTLP}CLIENT_CERTIFICATE", "/SECRET", f"{OTLP}CLIENT_KEY is not set"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,SECRET", "pair 2 is none"),
    ],
)
def test_variable_that_cannot_be_used_is_named_without_its_value(name: str, value: str, text: str) -> None:
    problem = environment_problem(TLS, {name: value})
    assert problem.startswith(f"{name}: ")
    assert text in problem
    assert "SECR" not in problem


def test_files_of_tls_are_accepted_if_they_fit(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("zoo", client=True).write(tmp_path, "client")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    names = {f"{OTLP}CLIENT_CERTIFICATE": str(certificate), f"{OTLP}CLIENT_KEY": str(key)}
    assert "it only together with" in environment_problem(TLS, names)
    names[f"{OTLP}CERTIFICATE"] = str(tmp_path / "ca.pem")
    assert environment_problem(TLS, names) == ""
    assert "not a pair" in environment_problem(TLS, names | {f"{OTLP}CLIENT_KEY": str(tmp_path / "ca.pem")})
