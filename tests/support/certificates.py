"""Certificates of the tests' own CAs, with real dates.

As a command, `python -m tests.support.certificates FOLDER`, it writes a set of files: the environment of the stock clients has
no package for it.
"""

from __future__ import annotations

import base64
import ipaddress
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in PEM."""

    cert: bytes
    key: bytes

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Writes NAME.crt and NAME.key, which only their owner can read; gives both paths."""
        folder.mkdir(parents=True, exist_ok=True)
        cert, key = folder / f"{name}.crt", folder / f"{name}.key"
        cert.write_bytes(self.cert)
        write_key(key, self.key)
        return cert, key


def write_key(path: Path, data: bytes) -> None:
    """Writes a file that only its owner can read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(data)


class Authority:
    """A CA."""

    def __init__(self, name: str = "Test CA", lasts: timedelta = 30 * DAY, parent: Authority | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by = parent or self
        made = _builder(self._name, by._name, self._key.public_key(), min(-HOUR, lasts - HOUR), lasts)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = made.sign(by._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(
        self,
        name: str = "zoo",
        *,
        hosts: tuple[str, ...] = HOSTS,
        begins: timedelta = -HOUR,
        lasts: timedelta = DAY,
        client: bool = False,
        key: object = None,
        usages: tuple[x509.ObjectIdentifier, ...] | None = None,
        signs: bool | None = None,
    ) -> Issued:
        """A certificate that is valid from `begins` to `lasts`, both from now. `key`: a private key that is not on P-256.
        `usages`: the extended key usage, in place of the one of `client`; empty for none. `signs`: whether the key usage has
        digitalSignature; None for no key usage."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        if usages is None:
            usages = (ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH,)
        made = _builder(subject, self._name, own.public_key(), begins, lasts)  # type: ignore[attr-defined]
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        if usages:
            made = made.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if signs is not None:
            made = made.add_extension(_key_usage(signs), critical=True)
        return Issued(
            made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM),
            own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),  # type: ignore[attr-defined]
        )


def with_public_key(pem: bytes, encode: Callable[[bytes], bytes]) -> bytes:
    """A certificate with its public key (SubjectPublicKeyInfo, DER) encoded anew; its signature is no longer right."""
    certificate = x509.load_pem_x509_certificate(pem)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole, signed = certificate.public_bytes(Encoding.DER), certificate.tbs_certificate_bytes
    after = whole[whole.index(signed) + len(signed) :]
    changed = der(0x30, inside(signed).replace(key, encode(key)))
    return pem_of(der(0x30, changed + after))


def pem_of(encoded: bytes) -> bytes:
    """A certificate of DER as PEM; nothing is checked."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(encoded) + b"-----END CERTIFICATE-----\n"


def der(tag: int, data: bytes) -> bytes:
    """An element of DER, of up to 64 KiB."""
    size = len(data).to_bytes(2)
    if len(data) < 128:
        return bytes([tag, len(data)]) + data
    return bytes([tag, 0x81]) + size[1:] + data if len(data) < 256 else bytes([tag, 0x82]) + size + data


def inside(element: bytes) -> bytes:
    """The content of an element of DER."""
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


def _key_usage(signs: bool) -> x509.KeyUsage:
    others = ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
    more = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=signs, key_encipherment=True, **more)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: object, begins: timedelta, lasts: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + lasts)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def write_set(folder: Path) -> None:
    """`ca.crt`, `server.*`, and of clients `client.*`, `other.*` of another CA, and `expired.*`."""
    authority, stranger = Authority(), Authority("Another CA")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.crt").write_bytes(authority.pem)
    authority.issue().write(folder, "server")
    authority.issue("client", client=True).write(folder, "client")
    stranger.issue("client", client=True).write(folder, "other")
    authority.issue("client", client=True, begins=-2 * DAY, lasts=-DAY).write(folder, "expired")


if __name__ == "__main__":
    write_set(Path(sys.argv[1]))
