"""Addresses of servers, as people write them and as gRPC takes them."""

from pathlib import Path

import pytest

from service.addresses import (
    LONGEST_PATH,
    endpoints,
    host_and_port,
    is_grpc_endpoint,
    is_loopback,
    is_unix,
    target_problem,
    unix_address,
)
from service.client.channel import is_loopback_target
from service.client.errors import BadInput
from service.client.security import Tls, security_of


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:8001"),
        ("::1", "[::1]:8001"),
        ("localhost", "localhost:8001"),
        ("unix:/run/zoo.sock", "unix:/run/zoo.sock"),
    ],
)
def test_address_has_a_port_unless_it_is_a_socket(host: str, address: str) -> None:
    assert host_and_port(host, 8001) == address
    assert is_unix(address) is address.startswith("unix:")


@pytest.mark.parametrize("text", ["unix:/run/zoo.sock", "unix:///run/zoo.sock"])
def test_socket_has_one_form(text: str) -> None:
    assert unix_address(text) == "unix:/run/zoo.sock"


def test_relative_socket_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert unix_address("unix:zoo.sock") == f"unix:{tmp_path}/zoo.sock"
    assert unix_address("unix:~/zoo.sock") == "unix:/home/me/zoo.sock"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("unix:", "expected the path of a socket"),
        ("unix:/run/", "expected the path of a socket"),
        ("unix://run/zoo.sock", "expected unix:PATH or unix:///PATH"),
        ("unix://", "expected unix:PATH or unix:///PATH"),
        ("unix:~nobody-of-this-name/zoo.sock", "expected an absolute path"),
        ("unix:/run/a b.sock", "expected a path of letters, digits"),
        ("unix:/run/%41.sock", "expected a path of letters, digits"),
        ("unix:/run/zoo.sock?x", "expected a path of letters, digits"),
        ("unix:/run/zoo\n.sock", "expected a path of letters, digits"),
        ("unix:/run/\0", "expected a path of letters, digits"),
        ("unix:/run/\udcff", "expected a path of letters, digits"),
        ("unix:/run/zoö.sock", "expected a path of letters, digits"),
        ("unix:/" + "x" * LONGEST_PATH, "expected a path of at most 103 bytes"),
    ],
)
def test_path_that_is_no_socket_is_rejected(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}"):
        unix_address(text)
    assert unix_address("unix:/" + "x" * (LONGEST_PATH - 1))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("fe80::1%lo", False),
        ("::ffff:192.0.2.7", False),
        ("no-such-host.invalid", None),
    ],
)
def test_loopback_is_where_only_this_machine_connects(host: str, loopback: bool | None) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("http://127.0.0.1:4317", True),
        ("https://collector.example:4317/", True),
        ("http://[::1]:4317", True),
        ("http://collector", False),
        ("collector:4317", False),
        ("ftp://collector:4317", False),
        ("http://collector:0x10dd", False),
        ("http://collector:99999", False),
        ("http://[::1:4317", False),
        ("http://user:password@collector:4317", False),
        ("http://collector:4317/v1/traces", False),
        ("http://collector:4317?key=1", False),
        ("http://:4317", False),
        ("", False),
    ],
)
def test_endpoint_of_a_collector_is_a_scheme_a_host_and_a_port(text: str, valid: bool) -> None:
    assert is_grpc_endpoint(text) is valid


@pytest.mark.parametrize(
    ("target", "addresses", "loopback"),
    [
        ("zoo.example:8001", ("zoo.example:8001",), False),
        ("dns:///zoo.example:8001", ("zoo.example:8001",), False),
        ("dns://192.0.2.1/localhost:8001", ("//192.0.2.1/localhost:8001",), False),
        ("dns:zoo.example:8001", ("zoo.example:8001",), False),
        ("dns:///localhost:8001", ("localhost:8001",), True),
        ("ipv4:127.0.0.1:8001,127.0.0.1:8011", ("127.0.0.1:8001", "127.0.0.1:8011"), True),
        ("ipv4:127.0.0.1:8001,192.0.2.7:8001", ("127.0.0.1:8001", "192.0.2.7:8001"), False),
        ("127.0.0.2:8001", ("127.0.0.2:8001",), True),
        ("127.evil.example:8001", ("127.evil.example:8001",), False),
        ("127.0.0.1.evil.example:8001", ("127.0.0.1.evil.example:8001",), False),
        ("127.0.0.1:1#@evil:80", ("127.0.0.1:1#@evil:80",), False),
        ("dns:///127.evil.example:8001", ("127.evil.example:8001",), False),
        ("ipv6:[::1]:8001,[2001:db8::1]:8001", ("[::1]:8001", "[2001:db8::1]:8001"), False),
        ("unix:/run/zoo.sock", ("unix:/run/zoo.sock",), True),
    ],
)
def test_target_names_one_server_or_several(target: str, addresses: tuple[str, ...], loopback: bool) -> None:
    assert endpoints(target) == addresses
    assert is_loopback_target(target) is loopback


@pytest.mark.parametrize(
    "target",
    [
        "ipv4:",
        "ipv4:,",
        "ipv4:300.1.1.1:1",
        "ipv4:127.0.0.1",
        "ipv4:127.0.0.1:99999",
        "ipv4:127.0.0.1:0",
        "ipv4:127.0.0.1:8001, 127.0.0.1:8011",
        "ipv4:localhost:8001",
        "ipv4:unix:/run/zoo.sock",
        "ipv6:[::g]:8001",
        "dns:",
        "dns:///",
        "dns:///zoo.example",
        "dns:///localhost:99999",
        "dns:///a b:8001",
        "dns://192.0.2.1/localhost:8001",
        "dns:///zoo.example:8001?x=1",
        "dns:///zoo.example:٣",
    ],
)
def test_target_that_names_no_servers_is_refused_by_client_and_command(target: str) -> None:
    assert target_problem(target).startswith("expected ")
    with pytest.raises(BadInput, match="server: expected "):
        security_of(target)


@pytest.mark.parametrize(
    "target",
    [
        "dns:///zoo.example:8001",
        "dns:zoo.example:8001",
        "ipv4:192.0.2.7:8001,192.0.2.8:8001",
        "ipv6:[2001:db8::1]:80",
        "x:1",
    ],
)
def test_target_that_names_servers_is_accepted(target: str) -> None:
    assert target_problem(target) == ""


def test_several_addresses_with_tls_need_the_name_in_their_certificates() -> None:
    with pytest.raises(BadInput, match="ZOO_TLS_SERVER_NAME"):
        security_of("ipv4:192.0.2.7:8001,192.0.2.8:8001", tls=True)
    security_of("ipv4:192.0.2.7:8001,192.0.2.8:8001", tls=Tls(server_name="zoo.example"))
    security_of("dns:///zoo.example:8001", tls=True)
