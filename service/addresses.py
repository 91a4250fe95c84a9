"""Addresses of a server: `host:port`, and `unix:PATH` for a Unix socket, as gRPC writes both; and targets of several servers."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

UNIX = "unix:"
BALANCED = ("dns:", "ipv4:", "ipv6:")
"""Schemes of gRPC's targets that may name several servers."""
LONGEST_PATH = 103
"""Bytes of the path of a socket. Linux allows 107, other systems 103."""
LONGEST_SHOWN = 100
"""Characters of a wrong address that its error repeats."""
HIGHEST_PORT = 65535
_DNS_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")
_EXPECTED = {
    "ipv4": "addresses such as 192.0.2.7:8001, separated by commas without spaces",
    "ipv6": "addresses such as [2001:db8::7]:8001, separated by commas without spaces",
    "dns": "dns:///NAME:PORT",
}

# gRPC reads the address as a URI, in which other characters have a meaning, and people paste it into a shell.
_PLAIN = re.compile(r"[A-Za-z0-9._~@+=,:/-]+")


def is_unix(address: str) -> bool:
    """Whether an address or host is that of a Unix socket."""
    return address.startswith(UNIX)


def is_loopback(host: str) -> bool | None:
    """Whether all addresses of a host are this machine's own; None where the name has no address. May block."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def is_host_name(text: str) -> bool:
    """Whether a text is a name or an IPv4 address in its usual form. The system reads `127.1` and `2130706433` as addresses too,
    and gRPC does not."""
    labels = text.removesuffix(".").split(".")
    if not all(label and all(character.isalnum() or character in "-_" for character in label) for label in labels):
        return False
    last = labels[-1]
    if not (last.isdecimal() or last.lower().startswith("0x")):  # no name ends in a number
        return True
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def host_and_port(host: str, port: int) -> str:
    """An address with its port; an IPv6 address gets brackets. A Unix socket has no port."""
    if is_unix(host):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_balanced(target: str) -> bool:
    """Whether a client's target may stand for several servers: `dns:///NAME:PORT`, `ipv4:HOST:PORT,HOST:PORT`, `ipv6:…`."""
    return target.startswith(BALANCED)


def endpoints(target: str) -> tuple[str, ...]:
    """The addresses, `host:port` or `unix:PATH`, that a client's target names."""
    if not is_balanced(target):
        return (target,)
    scheme, _, rest = target.partition(":")
    if scheme == "dns":
        return (rest.removeprefix("///"),)
    return tuple(rest.split(","))


def target_problem(target: str) -> str:
    """The problem with a client's target that may name several servers; empty for a sound one, and for any other target."""
    if not is_balanced(target):
        return ""
    scheme = target.partition(":")[0]
    for address in endpoints(target):
        host, colon, port = address.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or not 0 < int(port) <= HIGHEST_PORT:
            return f"expected a port after each address, got {address[:LONGEST_SHOWN]!r}"
        try:
            if scheme == "ipv4":
                ipaddress.IPv4Address(host)
            elif scheme == "ipv6":
                ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
            elif not _DNS_NAME.fullmatch(host):
                raise ValueError
        except ValueError:
            return f"expected {_EXPECTED[scheme]}, got {address[:LONGEST_SHOWN]!r}"
    return ""


def is_loopback_address(address: str) -> bool:
    """Whether `host:port` or `unix:PATH` is this machine's own by its text: no name but `localhost` is."""
    if is_unix(address):
        return True
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def unix_address(text: str) -> str:
    """`unix:PATH` or `unix:///PATH` with its absolute path, as `unix:/PATH`. Raises ValueError, whose text says what is wrong."""
    path = text.removeprefix(UNIX)
    if path.startswith("//"):
        path = path[2:]
        if not path.startswith("/"):
            raise ValueError("expected unix:PATH or unix:///PATH, for example unix:/run/zoo.sock")
    if not path or path.endswith("/"):
        raise ValueError("expected the path of a socket, for example unix:/run/zoo.sock")
    try:
        path = str(Path(path).expanduser().absolute())
    except (OSError, RuntimeError):  # no home folder, or no working folder
        raise ValueError("expected an absolute path, for example unix:/run/zoo.sock") from None
    if not _PLAIN.fullmatch(path):
        raise ValueError("expected a path of letters, digits and . _ - ~ @ + = , : only")
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ValueError(f"expected a path of at most {LONGEST_PATH} bytes, which the system allows for a socket")
    return UNIX + path


def is_grpc_endpoint(text: str) -> bool:
    """Whether a text is `http://HOST:PORT` or `https://HOST:PORT`, as OpenTelemetry's exporters take it: no path, no password."""
    try:
        parts = urlsplit(text)
        plain = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port is not None
    except ValueError:  # a port that is no number, brackets that do not match
        return False
    return plain and parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
