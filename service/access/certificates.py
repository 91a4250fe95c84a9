"""A server's certificate, its private key and the CAs of its clients: PEM files, read and checked.

The `cryptography` package reads them, because the standard library does not show when a certificate expires.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from service.settings import printable_path

LARGEST_FILE = 1024 * 1024
"""Bytes. A bundle of all public CAs has a fifth of it."""
SMALLEST_RSA_KEY = 2048
"""Bits; TLS libraries refuse smaller ones."""
LARGEST_RSA_KEY = 8192
"""Bits; gRPC's own TLS library refuses larger ones."""
LONGEST_RSA_EXPONENT = 33
"""Bits; gRPC's own TLS library refuses longer ones."""
LONGEST_CHAIN = 10
"""Certificates. Clients refuse longer chains, and each handshake sends the whole chain."""
_CURVES = (ec.SECP256R1, ec.SECP384R1)
"""Clients that use gRPC's own TLS library accept no certificate on another curve, not even on P-521."""
_SETTINGS = {"cert": "ZOO_TLS_CERT_FILE", "key": "ZOO_TLS_KEY_FILE", "client_ca": "ZOO_TLS_CLIENT_CA_FILE"}

_SERVER_USAGES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class CertificateProblem(Exception):
    """A file cannot be used. The text is a sentence that begins with the setting."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting}: {problem}")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the files are."""

    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class FileContents:
    """What the files hold, unchecked. Equal contents mean that nothing has changed."""

    cert: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A checked certificate with its key."""

    chain: bytes
    """PEM, the server's own certificate first."""
    key: bytes = field(repr=False)
    """PEM, PKCS #8, without a passphrase."""
    client_ca: bytes | None
    """PEM of the CAs of clients; None where clients need no certificate."""
    subject: str
    """Of the server's certificate, for the log."""
    expires: datetime
    client_ca_expires: datetime | None
    """When the last of the CAs of clients expires."""


def read_files(files: CertificateFiles) -> FileContents:
    """The contents of the files. Raises CertificateProblem for a file that is missing, unreadable or open to other users."""
    return FileContents(
        _read(_SETTINGS["cert"], files.cert),
        _read(_SETTINGS["key"], files.key, private=True),
        None if files.client_ca is None else _read(_SETTINGS["client_ca"], files.client_ca),
    )


def check_contents(contents: FileContents, now: datetime) -> ServerCertificate:
    """The certificate, if a server can use it at the time `now`. Raises CertificateProblem."""
    setting = _SETTINGS["cert"]
    chain = _certificates(setting, contents.cert)
    if len(chain) > LONGEST_CHAIN:
        raise CertificateProblem(
            setting,
            f"the file has {len(chain)} certificates; expected at most {LONGEST_CHAIN}: the server's, then its CAs",
        )
    key = _private_key(contents.key)
    with _reading(setting):
        _check_that_key_fits(key, chain)
        _check_that_grpc_takes_key(chain[0])
        _check_usage(chain[0])
    _check_time(setting, chain[0], now)
    clients = [] if contents.client_ca is None else _certificates(_SETTINGS["client_ca"], contents.client_ca)
    _check_authorities(clients)
    lasting = max((ca.not_valid_after_utc for ca in clients), default=None)
    if lasting is not None and lasting <= now:
        raise CertificateProblem(_SETTINGS["client_ca"], f"its last certificate expired on {_day(lasting)}")
    return ServerCertificate(
        chain=_pem(chain),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        client_ca=_pem(clients) if clients else None,
        subject=chain[0].subject.rfc4514_string(),
        expires=chain[0].not_valid_after_utc,
        client_ca_expires=lasting,
    )


def _read(setting: str, path: Path, *, private: bool = False) -> bytes:
    shown = printable_path(path)
    try:
        # Without waiting for a writer, where the path names a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise CertificateProblem(setting, f"{shown} cannot be read: {_reason(error)}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CertificateProblem(setting, f"{shown} is no file")
        if found.st_size > LARGEST_FILE:
            raise CertificateProblem(
                setting, f"{shown} has {found.st_size} bytes; expected PEM of at most {LARGEST_FILE}"
            )
        # As PostgreSQL has it for its key: the group may read, so that root can own the file of a service.
        if private and found.st_mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
            raise CertificateProblem(
                setting,
                f"{shown} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}); expected 0600, or 0640 at most",
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST_FILE)
    except OSError as error:
        raise CertificateProblem(setting, f"{shown} cannot be read: {_reason(error)}") from None
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or "it is no name of a file").lower()


def _certificates(setting: str, data: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(data)
    except Exception:  # the package documents ValueError, and has others
        raise CertificateProblem(setting, "the file holds no certificate in PEM, or a damaged one") from None
    with _reading(setting):
        for certificate in found:  # the package reads these only when they are asked for
            certificate.subject.rfc4514_string()
            certificate.issuer.rfc4514_string()
            certificate.public_key()
            list(certificate.extensions)
    return found


@contextmanager
def _reading(setting: str) -> Iterator[None]:
    """Each error of the package becomes a CertificateProblem."""
    try:
        yield
    except CertificateProblem:
        raise
    except UnsupportedAlgorithm:
        raise CertificateProblem(
            setting, "a certificate of the file has a key or curve that is not supported"
        ) from None
    except Exception:  # the package documents ValueError, and has others
        raise CertificateProblem(
            setting, "a certificate of the file is damaged: its key, a name or an extension cannot be read"
        ) from None


def _private_key(data: bytes) -> PrivateKey:
    setting = _SETTINGS["key"]
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise CertificateProblem(setting, "the key has a passphrase; expected one without") from None
    except Exception:  # the package documents ValueError and UnsupportedAlgorithm, and has others
        raise CertificateProblem(setting, "the file holds no private key in PEM, or a damaged one") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if not SMALLEST_RSA_KEY <= key.key_size <= LARGEST_RSA_KEY:
            raise CertificateProblem(
                setting, f"expected an RSA key of {SMALLEST_RSA_KEY} to {LARGEST_RSA_KEY} bits, got {key.key_size}"
            )
        bits = key.public_key().public_numbers().e.bit_length()
        if bits > LONGEST_RSA_EXPONENT:
            raise CertificateProblem(
                setting, f"expected an RSA key with an exponent of at most {LONGEST_RSA_EXPONENT} bits, got {bits}"
            )
        return key
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, _CURVES):
        raise CertificateProblem(setting, "expected a key for RSA, or for ECDSA on the curve P-256 or P-384")
    return key


def _check_that_key_fits(key: PrivateKey, chain: list[x509.Certificate]) -> None:
    own = _public_bytes(key.public_key())
    fitting = [_public_bytes(certificate.public_key()) == own for certificate in chain]
    if not any(fitting):
        raise CertificateProblem(_SETTINGS["key"], f"the key does not belong to the certificate of {_SETTINGS['cert']}")
    if not fitting[0]:
        raise CertificateProblem(
            _SETTINGS["cert"], "the server's certificate must be the first of the file, before those of its CAs"
        )


def _check_that_grpc_takes_key(certificate: x509.Certificate) -> None:
    """gRPC reads one encoding of a key only. `cryptography` reads others too, such as RSA-PSS and explicit parameters of a curve,
    and writes the one that gRPC reads."""
    if _public_bytes(certificate.public_key()) not in certificate.tbs_certificate_bytes:
        raise CertificateProblem(
            _SETTINGS["cert"],
            "expected a certificate whose key gRPC can read: for RSA (rsaEncryption, not RSA-PSS), or for ECDSA "
            "on the curve P-256 or P-384 by its name (no explicit parameters)",
        )


def _check_usage(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage) and not any(usage in value for usage in _SERVER_USAGES):
            raise CertificateProblem(
                _SETTINGS["cert"], "the certificate is not one for servers: its extended key usage lacks serverAuth"
            )
        if isinstance(value, x509.KeyUsage) and not value.digital_signature:
            raise CertificateProblem(
                _SETTINGS["cert"], "the certificate is not one for TLS: its key usage lacks digitalSignature"
            )


def _check_authorities(certificates: list[x509.Certificate]) -> None:
    """gRPC would trust any certificate of the file to sign those of clients, also that of a client."""
    for certificate in certificates:
        if not any(isinstance(e.value, x509.BasicConstraints) and e.value.ca for e in certificate.extensions):
            raise CertificateProblem(
                _SETTINGS["client_ca"],
                f"the certificate of {certificate.subject.rfc4514_string()[:128]!r} is not one of a CA; expected only "
                "certificates with basicConstraints CA:TRUE",
            )


def _public_bytes(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _check_time(setting: str, certificate: x509.Certificate, now: datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise CertificateProblem(setting, f"the certificate expired on {_day(certificate.not_valid_after_utc)}")
    if certificate.not_valid_before_utc > now:
        begins = _day(certificate.not_valid_before_utc)
        raise CertificateProblem(setting, f"the certificate is valid from {begins} on; is this machine's clock right?")


def _pem(certificates: list[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _day(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
