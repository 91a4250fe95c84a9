"""Makes what one installation of docker-compose.yml keeps secret, in its volumes. What is there already stays.

    python prepare.py passwords        the database's password, and that of Grafana's `admin`
    python prepare.py certificates     a CA, and a certificate for the server (docker-compose.secured.yml)
    python prepare.py metrics-token    the token with which Prometheus reads the metrics (docker-compose.secured.yml)

Runs in the image of Zoo, as its user. Ends with code 2 and one sentence where a setting is wrong.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

RUN = Path("/run/zoo")
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
RENEW_DAYS = 60
"""A certificate that ends sooner is renewed. The alert on it comes two weeks before its end."""
NAMES = ("zoo", "localhost", "127.0.0.1", "::1")
"""How the containers and callers on this machine call the server."""


class SettingError(Exception):
    """A setting is wrong; the text is one sentence for the operator."""


def write(path: Path, content: bytes, mode: int) -> None:
    """Writes a file as a whole, by a rename."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        os.fsync(descriptor)
    temporary.rename(path)


def check_address(bind: str, secured: bool) -> None:
    """Raises SettingError if the ports would be open to other machines without TLS and tokens."""
    try:
        loopback = ipaddress.ip_address(bind.strip("[]")).is_loopback
    except ValueError:
        raise SettingError(f"ZOO_BIND is {bind!r}; expected an address of this machine such as 127.0.0.1") from None
    if not loopback and not secured:
        raise SettingError(
            f"ZOO_BIND is {bind!r}, which opens the ports to other machines without TLS and without tokens; "
            "add docker-compose.secured.yml to COMPOSE_FILE, or take 127.0.0.1"
        )


def make_passwords(run: Path = RUN) -> None:
    """The passwords. Each is in a volume that only its server, its clients and this program see."""
    password = run / "database" / "password"
    if not password.exists():
        write(password, f"{secrets.token_urlsafe(32)}\n".encode(), 0o644)
    # libpq takes no file that others may read, so it has one of its own.
    write(run / "database" / "pgpass", f"*:*:*:zoo:{password.read_text().strip()}\n".encode(), 0o600)
    grafana = run / "grafana" / "password"
    if not grafana.exists():
        write(grafana, secrets.token_urlsafe(24).encode(), 0o644)


def wanted_names(further: str) -> list[str]:
    """The names and addresses in the certificate. Raises SettingError."""
    names = [*NAMES, *(name.strip() for name in further.split(",") if name.strip())]
    for name in names:
        if not re.fullmatch(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:]+", name):
            raise SettingError(f"ZOO_TLS_NAMES has {name[:100]!r}; expected names and addresses, separated by commas")
    return list(dict.fromkeys(names))


def general_name(name: str) -> x509.GeneralName:
    """A name or an address, for a certificate."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def new_key() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A private key, and the same as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def builder(name: str, days: int, now: datetime) -> x509.CertificateBuilder:
    """A certificate that begins an hour ago, since clocks differ."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def usage(*, authority: bool) -> x509.KeyUsage:
    """What a key is for."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def authority(folder: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The CA of this installation, made at the first call. Its key is in a volume that only this program sees."""
    if not (folder / "ca.crt").exists():
        key, pem = new_key()
        name = f"Zoo {secrets.token_hex(4)}"
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            builder(name, AUTHORITY_DAYS, now)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(authority=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, SHA256())
        )
        write(folder / "ca.key", pem, 0o600)
        write(folder / "ca.crt", certificate.public_bytes(Encoding.PEM), 0o644)
    loaded = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes()), loaded


def issue(
    folder: Path, issuer: x509.Certificate, issuer_key: ec.EllipticCurvePrivateKey, names: list[str], now: datetime
) -> None:
    """Writes the server's certificate, its key and the CA's certificate."""
    key, pem = new_key()
    certificate = (
        builder("zoo", CERTIFICATE_DAYS, now)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(map(general_name, names)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(issuer_key, SHA256())
    )
    folder.chmod(0o755)  # Prometheus has another user, and reads ca.crt
    # The server takes a pair only when both fit, so it does not matter which is first.
    write(folder / "tls.key", pem, 0o600)
    write(folder / "tls.crt", certificate.public_bytes(Encoding.PEM), 0o644)
    write(folder / "ca.crt", issuer.public_bytes(Encoding.PEM), 0o644)


def make_certificates(further_names: str, run: Path = RUN, now: datetime | None = None) -> str:
    """The server's certificate, unless there is one of somebody else. Returns what was done. Raises SettingError."""
    now = now or datetime.now(UTC)
    folder, names = run / "tls", wanted_names(further_names)
    present = folder / "tls.crt"
    ours = (run / "authority" / "ca.crt").exists()
    if present.exists():
        certificate = x509.load_pem_x509_certificate(present.read_bytes())
        if not ours or not issued_by(certificate, authority(run / "authority", now)[0]):
            missing = [name for name in ("ca.crt", "tls.key") if not (folder / name).exists()]
            if missing:
                raise SettingError(f"ZOO_TLS_FOLDER has tls.crt, but not {' and '.join(missing)}")
            return "the certificate is not of this installation, and stays"
        has = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        renew = certificate.not_valid_after_utc - now < timedelta(days=RENEW_DAYS)
        if not renew and [*has] == [general_name(name) for name in names]:
            return f"the certificate is valid until {certificate.not_valid_after_utc:%Y-%m-%d}"
    if not os.access(folder, os.W_OK):
        raise SettingError("ZOO_TLS_FOLDER has no tls.crt; expected ca.crt, tls.crt and tls.key in it")
    issue(folder, *authority(run / "authority", now), names, now)
    return f"made a certificate for {', '.join(names)}"


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether one certificate is signed by the key of the other."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def zoo(*arguments: str) -> str:
    """What a command of `zoo` prints."""
    return subprocess.run(["zoo", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def make_metrics_token(run: Path = RUN, command: Callable[..., str] = zoo) -> str:
    """The token in the file that Prometheus reads, unless it is valid. Returns what was done."""
    file = run / "metrics" / "token"
    if file.exists():
        listed = json.loads(command("token", "list", "--principal", "prometheus", "--local", "--json"))["tokens"]
        token = re.match(r"zoo_([^_]+)_", file.read_text())
        if token and any(one["id"] == token[1] and one["revoked"] is None for one in listed):
            return "the token of prometheus is valid"
    made = json.loads(command("token", "create", "prometheus", "--scope", "metrics", "--local", "--json"))
    write(file, f"{made['secret']}\n".encode(), 0o644)
    return f"made token {made['id']} of prometheus"


def main(steps: list[str]) -> None:
    """The command line. Raises SettingError."""
    if "passwords" in steps:
        check_address(os.environ.get("ZOO_BIND") or "127.0.0.1", "certificates" in steps)
        make_passwords()
    if "certificates" in steps:
        print(make_certificates(os.environ.get("ZOO_TLS_NAMES", "")))
    if "metrics-token" in steps:
        print(make_metrics_token())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SettingError as problem:
        print(problem, file=sys.stderr)
        raise SystemExit(2) from None
