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
        return (rest.rpartition("/")[2],)  # dns://SERVER/NAME:PORT asks this server of the DNS
    return tuple(part.strip() for part in rest.split(","))


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
