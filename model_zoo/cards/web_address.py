"""Addresses of files that a card may name: https, http of this machine, or an object of S3 or Google Cloud Storage; without
anything that could be a secret."""

import ipaddress
import re
import socket
from typing import Literal
from urllib.parse import unquote, urlsplit

__all__ = ["OBJECT_SCHEMES", "address_problem", "file_name_of", "is_allowed", "is_loopback", "is_object"]

OBJECT_SCHEMES = ("s3", "gs")
"""S3, and Google Cloud Storage."""

_LONGEST = 2000
_PRINTABLE_ASCII = re.compile(r"[!-~]+")
_OBJECT = re.compile(r"(s3|gs)://[a-z0-9][a-z0-9._-]{1,253}[a-z0-9](/[A-Za-z0-9._+=,()~$&'@!-]+)+")
"""A bucket and a key. Characters that a library would read as a pattern or as a list of several files are left out."""


def address_problem(url: str) -> str:
    """What is wrong with the address of a file, for users; empty if nothing is. Repeats no part of the address, since a part may
    be a secret.

    A card, a lock file and messages show the address. So it may hold no user name and no password, and no query, which is where
    signed addresses have their keys.
    """
    if len(url) > _LONGEST or not _PRINTABLE_ASCII.fullmatch(url) or "\\" in url:
        return f"expected an address of at most {_LONGEST:,} printable ASCII characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "expected https://HOST/PATH"
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        return "the address holds a user name or a password, which cards and messages would show"
    if parts.query or "?" in url:
        return "the address has a query, which may hold a key that cards and messages would show"
    if "#" in url:
        return "the address has a fragment"
    if is_object(url):
        return "" if _OBJECT.fullmatch(url) else "expected s3://BUCKET/KEY or gs://BUCKET/KEY"
    if not host or parts.path in ("", "/") or not is_allowed(url):
        return "expected https://HOST/PATH; plain http is for this machine only"
    return ""


def is_object(url: str) -> bool:
    """Whether an address is of an object of S3 or Google Cloud Storage."""
    return url.lower().startswith(tuple(f"{scheme}://" for scheme in OBJECT_SCHEMES))


def is_allowed(url: str, asked: str = "") -> bool:
    """Whether a file may be fetched from an address: by https, or by http from this machine.

    Args:
        asked: where another address sent us here, the one that was asked for. It sends nobody further inside than it is itself:
            one of the internet sends to no private network, and none beyond this machine to a service on it.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return False
    if not asked:
        return True
    there, here = _reach(parts.hostname or ""), _reach(urlsplit(asked).hostname or "")
    return there in ("internet", here) or here == "machine"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its text."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reach(host: str) -> Literal["machine", "link", "network", "internet"]:
    """From where a host is reached, by its text alone: a name is taken for one of the internet."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return "machine"
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # other ways to write one, such as 127.1
        except (OSError, ValueError):
            return "internet"
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback or address.is_unspecified:
        return "machine"
    if address.is_link_local:
        return "link"
    return "internet" if address.is_global else "network"


def file_name_of(url: str) -> str:
    """The last part of the path of an address, as a name that is safe as that of a file."""
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", last).lstrip(".-")[-100:] or "file"
