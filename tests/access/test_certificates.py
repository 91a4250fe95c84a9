"""What a server says of a certificate, key or CA file that it cannot use."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from service.access.certificates import (
    LARGEST_FILE,
    LONGEST_CHAIN,
    CertificateFiles,
    CertificateProblem,
    FileContents,
    check_contents,
    read_files,
)
from tests.support.certificates import DAY, HOUR, Authority, Issued, der, inside, pem_of, with_public_key, write_key

CA = Authority()


def now() -> datetime:
    return datetime.now(UTC)


def problem_with(contents: FileContents) -> str:
    with pytest.raises(CertificateProblem) as caught:
        check_contents(contents, now())
    return str(caught.value)


def test_certificate_gives_its_expiry_and_its_chain_without_comments() -> None:
    pair = CA.issue()
    found = check_contents(FileContents(b"a comment\n" + pair.cert + CA.pem, pair.key, CA.pem), now())
    assert found.expires == x509.load_pem_x509_certificate(pair.cert).not_valid_after_utc
    assert found.client_ca_expires == x509.load_pem_x509_certificate(CA.pem).not_valid_after_utc
    assert found.chain == pair.cert + CA.pem
    assert found.client_ca == CA.pem
    assert found.subject == "CN=zoo"


def test_key_is_not_shown_in_a_representation() -> None:
    pair = CA.issue()
    contents = FileContents(pair.cert, pair.key)
    for shown in (repr(contents), repr(check_contents(contents, now()))):
        assert "PRIVATE" not in shown


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
def test_key_on_a_common_curve_is_accepted(curve: ec.EllipticCurve) -> None:
    pair = CA.issue(key=ec.generate_private_key(curve))
    assert check_contents(FileContents(pair.cert, pair.key), now()).subject == "CN=zoo"


def test_rsa_key_in_its_traditional_form_is_accepted() -> None:
    key = rsa.generate_private_key(65537, 2048)
    traditional = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    found = check_contents(FileContents(CA.issue(key=key).cert, traditional), now())
    assert found.key.startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize("data", [b"", b"no PEM", b"\xff\x00", CA.issue().key, CA.issue().cert[:-60]])
def test_file_without_a_certificate_is_named_by_its_setting(data: bytes) -> None:
    expected = ": the file holds no certificate in PEM, or a damaged one"
    pair = CA.issue()
    assert problem_with(FileContents(data, pair.key)) == "ZOO_TLS_CERT_FILE" + expected
    assert problem_with(FileContents(pair.cert, pair.key, data)) == "ZOO_TLS_CLIENT_CA_FILE" + expected


@pytest.mark.parametrize("data", [b"", b"no PEM", b"\xff\x00", CA.issue().cert, CA.issue().key[:-60]])
def test_file_without_a_private_key_is_named_by_its_setting(data: bytes) -> None:
    expected = "ZOO_TLS_KEY_FILE: the file holds no private key in PEM, or a damaged one"
    assert problem_with(FileContents(CA.issue().cert, data)) == expected


def test_key_with_a_passphrase_is_rejected() -> None:
    pair = CA.issue()
    locked = load_pem_private_key(pair.key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    assert problem_with(FileContents(pair.cert, locked)) == (
        "ZOO_TLS_KEY_FILE: the key has a passphrase; expected one without"
    )


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP521R1()),
    ],
)
def test_key_of_a_kind_that_grpc_does_not_take_is_rejected(key: object) -> None:
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    assert "expected a key for RSA, or for ECDSA on the curve" in problem_with(FileContents(CA.issue().cert, encoded))


def test_small_rsa_key_is_rejected() -> None:
    key = rsa.generate_private_key(65537, 1024)
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert problem_with(FileContents(CA.issue().cert, encoded)) == (
        "ZOO_TLS_KEY_FILE: expected an RSA key of 2048 to 8192 bits, got 1024"
    )


def test_rsa_key_with_a_long_exponent_is_rejected() -> None:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    p, q, e = numbers.p, numbers.q, 2**89 - 1  # a prime
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    key = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), numbers.iqmp, public).private_key()
    pair = CA.issue(key=key)
    assert problem_with(FileContents(pair.cert, pair.key)) == (
        "ZOO_TLS_KEY_FILE: expected an RSA key with an exponent of at most 33 bits, got 89"
    )


def _rsa_pss(key: bytes) -> bytes:
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")  # rsaEncryption, NULL
    return der(0x30, inside(key).replace(algorithm, bytes.fromhex("300b06092a864886f70d01010a")))


def _explicit_parameters(key: bytes) -> bytes:
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"
    base = (
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    order = "00ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
    field = der(0x30, bytes.fromhex("06072a8648ce3d0101") + der(0x02, b"\0" + p.to_bytes(32)))
    curve = der(0x30, der(0x04, (p - 3).to_bytes(32)) + der(0x04, bytes.fromhex(b)))
    point = der(0x04, bytes.fromhex(base)) + der(0x02, bytes.fromhex(order)) + der(0x02, b"\1")
    explicit = der(0x30, der(0x02, b"\1") + field + curve + point)
    named = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    return der(0x30, inside(key).replace(named, der(0x30, bytes.fromhex("06072a8648ce3d0201") + explicit)))


@pytest.mark.parametrize(
    ("pair", "encode"),
    [(CA.issue(key=rsa.generate_private_key(65537, 2048)), _rsa_pss), (CA.issue(), _explicit_parameters)],
    ids=["RSA-PSS", "explicit parameters"],
)
def test_certificate_whose_key_grpc_cannot_read_is_rejected(pair: Issued, encode: Callable[[bytes], bytes]) -> None:
    assert problem_with(FileContents(with_public_key(pair.cert, encode), pair.key)) == (
        "ZOO_TLS_CERT_FILE: expected a certificate whose key gRPC can read: for RSA (rsaEncryption, not RSA-PSS), or for ECDSA "
        "on the curve P-256 or P-384 by its name (no explicit parameters)"
    )


def _unknown_curve(key: bytes) -> bytes:
    return key.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f"))


def _unknown_kind(key: bytes) -> bytes:
    return key.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f"))


def _off_the_curve(key: bytes) -> bytes:
    return key[:-1] + bytes([key[-1] ^ 1])


NOT_SUPPORTED = "a certificate of the file has a key or curve that is not supported"
DAMAGED = "a certificate of the file is damaged: its key, a name or an extension cannot be read"


@pytest.mark.parametrize(
    ("encode", "problem"),
    [(_unknown_curve, NOT_SUPPORTED), (_unknown_kind, NOT_SUPPORTED), (_off_the_curve, DAMAGED)],
)
def test_certificate_with_a_strange_key_is_named_by_its_setting(encode: Callable[[bytes], bytes], problem: str) -> None:
    pair, strange = CA.issue(), with_public_key(CA.pem, encode)
    own = with_public_key(pair.cert, encode)
    assert problem_with(FileContents(own, pair.key)) == f"ZOO_TLS_CERT_FILE: {problem}"
    assert problem_with(FileContents(pair.cert + strange, pair.key)) == f"ZOO_TLS_CERT_FILE: {problem}"
    assert problem_with(FileContents(pair.cert, pair.key, CA.pem + strange)) == f"ZOO_TLS_CLIENT_CA_FILE: {problem}"


def test_certificate_with_a_subject_that_is_no_text_is_named_by_its_setting() -> None:
    pair = CA.issue()
    spoilt = [_with_bytes(pem, b"\x0c\x03zoo", b"\x0c\x03\xff\xfe\xfd") for pem in (pair.cert, CA.issue().cert)]
    assert problem_with(FileContents(spoilt[0], pair.key)) == f"ZOO_TLS_CERT_FILE: {DAMAGED}"
    assert problem_with(FileContents(pair.cert, pair.key, spoilt[1])) == f"ZOO_TLS_CLIENT_CA_FILE: {DAMAGED}"


def _with_bytes(pem: bytes, old: bytes, new: bytes) -> bytes:
    encoded = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert len(old) == len(new)
    assert old in encoded
    return pem_of(encoded.replace(old, new))


def test_long_chain_is_rejected() -> None:
    pair = CA.issue()
    assert check_contents(FileContents(pair.cert + CA.pem * (LONGEST_CHAIN - 1), pair.key), now())
    assert problem_with(FileContents(pair.cert + CA.pem * LONGEST_CHAIN, pair.key)) == (
        "ZOO_TLS_CERT_FILE: the file has 11 certificates; expected at most 10: the server's, then its CAs"
    )


@pytest.mark.parametrize("usages", [(), (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)], ids=["none", "any"])
def test_certificate_for_every_use_is_accepted(usages: tuple[x509.ObjectIdentifier, ...]) -> None:
    pair = CA.issue(usages=usages, signs=True)
    assert check_contents(FileContents(pair.cert, pair.key), now())


def test_certificate_that_is_not_for_servers_is_rejected() -> None:
    pair = CA.issue(client=True)
    assert problem_with(FileContents(pair.cert, pair.key)) == (
        "ZOO_TLS_CERT_FILE: the certificate is not one for servers: its extended key usage lacks serverAuth"
    )
    pair = CA.issue(signs=False)
    assert problem_with(FileContents(pair.cert, pair.key)) == (
        "ZOO_TLS_CERT_FILE: the certificate is not one for TLS: its key usage lacks digitalSignature"
    )


@pytest.mark.parametrize("before", [b"", CA.pem], ids=["alone", "after a CA"])
def test_ca_of_clients_that_is_no_ca_is_rejected(before: bytes) -> None:
    pair = CA.issue()
    assert problem_with(FileContents(pair.cert, pair.key, before + CA.issue("client", client=True).cert)) == (
        "ZOO_TLS_CLIENT_CA_FILE: the certificate of 'CN=client' is not one of a CA; expected only certificates with "
        "basicConstraints CA:TRUE"
    )


def test_key_of_another_certificate_is_rejected() -> None:
    assert problem_with(FileContents(CA.issue().cert, CA.issue().key)) == (
        "ZOO_TLS_KEY_FILE: the key does not belong to the certificate of ZOO_TLS_CERT_FILE"
    )


def test_chain_in_the_wrong_order_is_rejected() -> None:
    pair = CA.issue()
    assert problem_with(FileContents(CA.pem + pair.cert, pair.key)) == (
        "ZOO_TLS_CERT_FILE: the server's certificate must be the first of the file, before those of its CAs"
    )


def test_expired_certificate_is_rejected_with_its_date() -> None:
    pair = CA.issue(begins=-2 * DAY, lasts=-DAY)
    day = (now() - DAY).strftime("%Y-%m-%d")
    assert problem_with(FileContents(pair.cert, pair.key)).startswith(
        f"ZOO_TLS_CERT_FILE: the certificate expired on {day}"
    )


def test_certificate_of_the_future_is_rejected_with_its_date() -> None:
    pair = CA.issue(begins=DAY, lasts=2 * DAY)
    assert problem_with(FileContents(pair.cert, pair.key)).startswith(
        "ZOO_TLS_CERT_FILE: the certificate is valid from "
    )


def test_ca_of_clients_is_rejected_only_if_all_its_certificates_have_expired() -> None:
    pair, old = CA.issue(), Authority("Old CA", lasts=-HOUR)
    assert problem_with(FileContents(pair.cert, pair.key, old.pem)).startswith(
        "ZOO_TLS_CLIENT_CA_FILE: its last certificate expired on "
    )
    assert check_contents(FileContents(pair.cert, pair.key, old.pem + CA.pem), now()).client_ca == old.pem + CA.pem


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def files_in(folder: Path) -> CertificateFiles:
    return CertificateFiles(*CA.issue().write(folder, "server"))


def problem_of_files(files: CertificateFiles) -> str:
    with pytest.raises(CertificateProblem) as caught:
        read_files(files)
    return str(caught.value)


def test_missing_file_is_named_with_its_setting(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.key.unlink()
    assert problem_of_files(files) == f"ZOO_TLS_KEY_FILE: {files.key} cannot be read: no such file or directory"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o602, 0o777])
def test_key_that_others_can_read_or_write_is_rejected(tmp_path: Path, mode: int) -> None:
    files = files_in(tmp_path)
    files.key.chmod(mode)
    assert problem_of_files(files) == (
        f"ZOO_TLS_KEY_FILE: {files.key} is open to other users (mode {mode:04o}); expected 0600, or 0640 at most"
    )


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_key_for_its_owner_and_group_is_accepted(tmp_path: Path, mode: int) -> None:
    files = files_in(tmp_path)
    files.key.chmod(mode)
    assert b"PRIVATE KEY" in read_files(files).key


def test_folder_pipe_and_huge_file_are_rejected_without_waiting(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    folder, pipe, huge = tmp_path / "folder", tmp_path / "pipe", tmp_path / "huge"
    folder.mkdir()
    os.mkfifo(pipe)
    huge.write_bytes(b" " * (LARGEST_FILE + 1))
    assert problem_of_files(CertificateFiles(folder, files.key)).endswith("folder is no file")
    assert problem_of_files(CertificateFiles(pipe, files.key)).endswith("pipe is no file")
    assert "expected PEM of at most" in problem_of_files(CertificateFiles(huge, files.key))


def test_permissions_are_those_of_the_file_behind_a_link(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    link = tmp_path / "link.key"
    link.symlink_to(files.key)
    assert b"PRIVATE KEY" in read_files(CertificateFiles(files.cert, link)).key
    write_key(files.key, b"x")
    files.key.chmod(0o644)
    assert "is open to other users" in problem_of_files(CertificateFiles(files.cert, link))
