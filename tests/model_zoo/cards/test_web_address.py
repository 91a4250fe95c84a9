"""Addresses on cards are safe to fetch from and to show."""

from __future__ import annotations

import pytest

from model_zoo.cards.web_address import address_problem, file_name_of, is_allowed


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/net.onnx",
        "https://models.example:8443/a/b%20c.onnx",
        "http://127.0.0.1:8000/net.onnx",
        "http://localhost/net.onnx",
        "http://[::1]:80/net.onnx",
        "s3://bucket/a/net-1.onnx",
        "gs://bucket.of.mine/net.onnx",
    ],
)
def test_address_of_https_or_of_this_machine_is_good(url: str) -> None:
    assert address_problem(url) == ""


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://models.example/net.onnx", "plain http is for this machine"),
        ("http://10.0.0.1/net.onnx", "plain http is for this machine"),
        ("http://169.254.169.254/latest", "plain http is for this machine"),
        ("http://localhost.example/x", "plain http is for this machine"),
        ("ftp://models.example/net.onnx", "expected https"),
        ("file:///etc/passwd", "expected https"),
        ("https://models.example", "expected https"),
        ("https:///net.onnx", "expected https"),
        ("https://models.example:port/x", "expected https"),
        ("https://[::1/x", "expected https"),
        ("https://ann:hunter2@models.example/x", "user name or a password"),
        ("https://hunter2@models.example/x", "user name or a password"),
        ("https://@models.example/x", "user name or a password"),
        ("https://models.example/x?token=hunter2", "query"),
        ("https://models.example/x?", "query"),
        ("https://models.example/x#hunter2", "fragment"),
        ("s3://bucket", "expected s3://BUCKET/KEY"),
        ("s3://bucket/", "expected s3://BUCKET/KEY"),
        ("s3://bucket/a*", "expected s3://BUCKET/KEY"),
        ("s3://bucket/a//b", "expected s3://BUCKET/KEY"),
        ("S3://bucket/a", "expected s3://BUCKET/KEY"),
        ("s3://key:hunter2@bucket/a", "user name or a password"),
        ("s3://bucket/a?versionId=1", "query"),
        ("https://models.example/a b", "printable"),
        ("https://models.example/a\nb", "printable"),
        ("https://models.example\\@evil.example/x", "printable"),
        ("https://models.example/" + "x" * 3000, "at most 2,000"),
    ],
)
def test_address_that_is_unsafe_is_refused_without_being_shown(url: str, problem: str) -> None:
    found = address_problem(url)
    assert problem in found
    assert "hunter2" not in found


def test_only_this_machine_sends_to_plain_http_of_this_machine() -> None:
    assert is_allowed("https://cdn.example/x", "https://models.example/x")
    assert is_allowed("http://127.0.0.1/x", "http://localhost/x")
    assert not is_allowed("http://127.0.0.1/x", "https://models.example/x")
    assert not is_allowed("http://cdn.example/x", "https://models.example/x")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8443",
        "localhost",
        "localhost.",
        "a.localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "[fe80::1%25eth0]",
        "10.1.2.3",
        "192.168.0.1",
        "100.64.0.1",
        "[fd00::1]",
    ],
)
def test_address_of_the_internet_sends_to_no_address_inside(host: str) -> None:
    assert not is_allowed(f"https://{host}/x", "https://models.example/x")
    assert not is_allowed(f"https://{host}/x", "https://8.8.8.8/x")
    assert is_allowed(f"https://{host}/x"), "an operator may name one"
    assert is_allowed(f"https://{host}/x", f"https://{host}/y")


def test_address_of_a_network_sends_to_its_network_alone() -> None:
    assert is_allowed("https://10.0.0.2/x", "https://10.0.0.1/x")
    assert not is_allowed("https://127.0.0.1/x", "https://10.0.0.1/x")
    assert not is_allowed("https://169.254.169.254/x", "https://10.0.0.1/x")
    assert is_allowed("https://8.8.8.8/x", "https://10.0.0.1/x")
    assert is_allowed("https://10.0.0.1/x", "http://127.0.0.1/x")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a/b/net-1.onnx", "net-1.onnx"),
        ("https://a/b/%2e%2e%2fnet.onnx", "_net.onnx"),
        ("https://a/b/.hidden", "hidden"),
        ("https://a/b/", "file"),
        ("https://a/" + "x" * 300 + ".onnx", "x" * 95 + ".onnx"),
    ],
)
def test_file_name_is_safe(url: str, name: str) -> None:
    assert file_name_of(url) == name
