"""What protects a connection: TLS, and the caller's token.

What a program does not give, the environment gives:

    ZOO_TLS=true               TLS, with the CAs that this machine trusts
    ZOO_TLS_CA_FILE            TLS, with the CAs of this PEM file instead
    ZOO_TLS_CLIENT_CERT_FILE   certificate that the client shows, with ZOO_TLS_CLIENT_KEY_FILE
    ZOO_TLS_SERVER_NAME        name that the server's certificate must have, if it is not that of the address
    ZOO_TOKEN, ZOO_TOKEN_FILE  the token, or a file that holds it
    ZOO_ALLOW_PLAINTEXT_BEYOND_LOOPBACK=true   lets a token go to another machine without TLS
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from service.addresses import endpoints, is_unix, target_problem
from service.client.channel import Metadata, is_loopback_target
from service.client.errors import BadInput

LARGEST_FILE = 1024 * 1024
"""Bytes of a file of certificates, a key or a token."""
PROBE_TIMEOUT_S = 1.0
"""Of the question whether a server speaks TLS, which is asked after a call has failed."""
_TOKEN = re.compile(r"[!-~]+")
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Tls:
    """How a client checks the server, and what it shows of itself. Files are in PEM."""

    ca_file: str | Path | None = None
    """CAs that may have signed the server's certificate; without it the CAs that this machine trusts."""
    client_cert_file: str | Path | None = None
    """The client's certificate, for a server that wants one; with `client_key_file`."""
    client_key_file: str | Path | None = None
    """Its private key, without a passphrase."""
    server_name: str = ""
    """Name that the server's certificate must have, where it is not that of the address."""


@dataclass(frozen=True, slots=True)
class Security:
    """What a connection needs of it."""

    credentials: grpc.ChannelCredentials | None = field(repr=False)
    """None for plain text."""
    options: tuple[tuple[str, str | int], ...]
    """Channel arguments."""
    metadata: Metadata = field(repr=False)
    """Of each call: the token."""


def security_of(
    target: str,
    tls: Tls | bool | None = None,
    token: str | None = None,
    allow_plaintext_beyond_loopback: bool | None = None,
    environment: Mapping[str, str] | None = None,
) -> Security:
    """The security of a connection to `target`. None takes what the environment says; `tls=False` and `token=""` take nothing.

    Raises BadInput for a target that names no servers, for files that cannot be used, and for a token that would leave this
    machine in plain text.
    """
    if problem := target_problem(target):
        raise BadInput(f"server: {problem}")
    given = os.environ if environment is None else environment
    chosen = tls_of_environment(given) if tls is None else Tls() if tls is True else tls or None
    secret = _token_of(given) if token is None else token
    if secret and not _TOKEN.fullmatch(secret):
        raise BadInput("the token has spaces or characters beyond ASCII; expected one as `zoo token create` prints it")
    allowed = allow_plaintext_beyond_loopback
    if allowed is None:
        allowed = _is_true(given.get("ZOO_ALLOW_PLAINTEXT_BEYOND_LOOPBACK", ""))
    if secret and chosen is None and not allowed and not is_loopback_target(target):
        raise BadInput(
            f"the token would travel to {target} in plain text: use TLS (ZOO_TLS_CA_FILE or ZOO_TLS=true), or set "
            "ZOO_ALLOW_PLAINTEXT_BEYOND_LOOPBACK=true if the network is private"
        )
    name = chosen.server_name if chosen else ""
    if chosen is not None and not name and len(endpoints(target)) > 1:
        raise BadInput(
            "with TLS several addresses need the name that is in the certificates of all: Tls(server_name=…) or, without `tls`, "
            "ZOO_TLS_SERVER_NAME; or use dns:///NAME:PORT"
        )
    return Security(
        credentials=None if chosen is None else _credentials(chosen),
        options=(("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)) if name else (),
        metadata=(("authorization", f"Bearer {secret}"),) if secret else (),
    )


def speaks_tls(target: str) -> bool:
    """Whether the server at `target` answers a TLS handshake. Blocks for PROBE_TIMEOUT_S at most; sends nothing else."""
    if is_unix(target):
        return False
    host, _, port = endpoints(target)[0].rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only whether, not with whom
    context.set_alpn_protocols(["h2"])
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), PROBE_TIMEOUT_S)) as plain:
            context.wrap_socket(plain).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def tls_of_environment(environment: Mapping[str, str]) -> Tls | None:
    """TLS as the variables say; None without any of them."""

    def path(name: str) -> str | None:
        return environment.get(name) or None

    ca, cert, key = map(path, ("ZOO_TLS_CA_FILE", "ZOO_TLS_CLIENT_CERT_FILE", "ZOO_TLS_CLIENT_KEY_FILE"))
    name = environment.get("ZOO_TLS_SERVER_NAME", "")
    if ca or cert or key or name or _is_true(environment.get("ZOO_TLS", "")):
        return Tls(ca, cert, key, name)
    return None


def _token_of(environment: Mapping[str, str]) -> str:
    if token := environment.get("ZOO_TOKEN", "").strip():
        return token
    path = environment.get("ZOO_TOKEN_FILE", "")
    return read_token(path) if path else ""


def read_token(path: str | Path) -> str:
    """The token in a file. Raises BadInput."""
    token = _read("the token file", path).decode("utf-8", "replace").strip()
    if not token:
        raise BadInput(f"the token file {str(path)!r} is empty")
    return token


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    roots = _system_roots() if tls.ca_file is None else _read("the CA file", tls.ca_file)
    certificate = None if tls.client_cert_file is None else _read("the client certificate", tls.client_cert_file)
    key = None if tls.client_key_file is None else _read("the key of the client certificate", tls.client_key_file)
    if (certificate is None) != (key is None):
        raise BadInput("a client certificate and its key belong together; only one of them is given")
    _check(tls)
    return grpc.ssl_channel_credentials(roots, key, certificate)


def _check(tls: Tls) -> None:
    """gRPC takes any bytes, and then fails at each call without a reason."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca_file is not None:
        try:
            context.load_verify_locations(tls.ca_file)
        except (ssl.SSLError, OSError):
            raise BadInput(f"the CA file {str(tls.ca_file)!r} holds no certificate in PEM, or a damaged one") from None
    if tls.client_cert_file is not None and tls.client_key_file is not None:
        try:
            context.load_cert_chain(tls.client_cert_file, tls.client_key_file, password=lambda: "")
        except (ssl.SSLError, OSError):
            raise BadInput(
                f"the client certificate {str(tls.client_cert_file)!r} and the key {str(tls.client_key_file)!r} cannot be "
                "used: expected PEM, a key without a passphrase, and that both belong together"
            ) from None


def _system_roots() -> bytes | None:
    """The CAs that this machine trusts, as OpenSSL finds them (SSL_CERT_FILE names others); None for those of gRPC."""
    found = ssl.get_default_verify_paths().cafile
    if found is None or "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" in os.environ:
        return None
    try:
        return Path(found).read_bytes()
    except OSError:
        return None


def _read(what: str, path: str | Path) -> bytes:
    try:
        with Path(path).expanduser().open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError, RuntimeError) as error:
        why = (getattr(error, "strerror", None) or "it is no name of a file").lower()
        raise BadInput(f"{what} {str(path)!r} cannot be read: {why}") from None
    if len(data) > LARGEST_FILE:
        raise BadInput(f"{what} {str(path)!r} has more than {LARGEST_FILE} bytes")
    return data


def _is_true(value: str) -> bool:
    return value.strip().lower() in _TRUE
