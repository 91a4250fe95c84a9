"""A file is read out of an archive by its path, and nothing unreasonable is."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from model_zoo.sources import archives
from model_zoo.sources.archives import DAMAGED, deb_member, gzipped_tar_member, zip_member
from tests.support.model_zoo.packages import PACKERS, ar, deb, tar

CONTENT = bytes(range(256)) * 300
FILES = {"./usr/share/other": b"other", "./usr/share/net.bin": CONTENT, "./usr/share/last": b"last"}


@pytest.mark.parametrize("packing", PACKERS)
def test_file_of_a_debian_package_is_read(packing: str, tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(deb(tar(FILES), packing))
    assert deb_member(tmp_path / "a.deb", "usr/share/net.bin", 1 << 20) == CONTENT
    assert deb_member(tmp_path / "a.deb", "usr/share/net.bin", 10) == CONTENT[:10]
    with pytest.raises(KeyError):
        deb_member(tmp_path / "a.deb", "usr/share/absent", 10)
    with pytest.raises(KeyError):
        deb_member(tmp_path / "a.deb", "control", 10)


@pytest.mark.parametrize("packing", PACKERS)
def test_truncated_debian_package_is_damaged(packing: str, tmp_path: Path) -> None:
    whole = deb(tar(FILES), packing)
    (tmp_path / "a.deb").write_bytes(whole[: len(whole) - 200] if packing else whole[: len(whole) - 80_000])
    with pytest.raises((*DAMAGED, KeyError)):
        deb_member(tmp_path / "a.deb", "usr/share/absent", 1 << 20)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"!<arch>\n",
        b"PK\3\4" + b"\0" * 100,
        ar({"debian-binary": b"2.0\n"}),
        ar({"data.tar.bz2": b"x"}),
        ar({"data.tar.xz": b"no xz"}),
        ar({"data.tar.zst": b"no zstd, or not much of it"}),
        ar({"data.tar.gz": b"no gzip"}),
        ar({"data.tar": b"x" * 1024}),
        ar({"debian-binary": b"2.0\n"}).replace(b"4         `", b"9999999999`"),
        ar({f"part{i}": b"" for i in range(200)}),
    ],
)
def test_what_is_no_debian_package_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(content)
    with pytest.raises(DAMAGED):
        deb_member(tmp_path / "a.deb", "net.bin", 10)


@pytest.mark.parametrize("hard", [False, True])
def test_link_is_not_followed(hard: bool, tmp_path: Path) -> None:
    links = {"net.bin": "/etc/passwd"}
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tar({}, links, hard)))
    with pytest.raises(tarfile.ReadError, match="not a plain file"):
        gzipped_tar_member(tmp_path / "a.tgz", "net.bin", 10)


def test_archive_bomb_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_UNPACKED", 1 << 20)
    for packing in (".gz", ".xz", ".zst"):
        zeros = {f"zeros{i}": b"\0" * (1 << 19) for i in range(8)}
        (tmp_path / "a.deb").write_bytes(deb(tar({**zeros, "net.bin": b"x"}), packing))
        with pytest.raises(tarfile.ReadError, match="unpacks to more"):
            deb_member(tmp_path / "a.deb", "net.bin", 10)


def test_xz_that_asks_for_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_XZ_MEMORY", 1 << 16)
    (tmp_path / "a.deb").write_bytes(deb(tar({"net.bin": b"x"}), ".xz"))
    with pytest.raises(lzma.LZMAError, match="emory"):
        deb_member(tmp_path / "a.deb", "net.bin", 10)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_huge_header_is_refused(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 900 << 20
    (tmp_path / "a.tgz").write_bytes(gzip.compress(info.tobuf() + b"\0" * 4096))
    with pytest.raises(tarfile.ReadError, match="header is unreasonably large"):
        gzipped_tar_member(tmp_path / "a.tgz", "net.bin", 10)


def pax(fields: Mapping[str, object]) -> bytes:
    """An extended header for the member after it."""
    content = b""
    for name, value in fields.items():
        rest = f" {name}={value}\n".encode()
        length = next(n for n in range(len(rest), len(rest) + 9) if n == len(rest) + len(str(n)))
        content += str(length).encode() + rest
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content.ljust(-(-len(content) // 512) * 512, b"\0")


def header(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo("other")
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header(1 << 80), "unreasonably large"),
        (pax({"size": 1 << 80}) + header(0), "unreasonably large"),
        (pax({"size": -5}) + header(0), "unreasonably large"),
        (header(-(1 << 40)), "unreasonably large"),
        (header(0, tarfile.GNUTYPE_SPARSE), "holes"),
        (pax({"GNU.sparse.major": 1, "GNU.sparse.minor": 0}) + header(0) + b"2000000\n" + b"0\n" * 4_000_000, "holes"),
        (pax({"GNU.sparse.map": "0,1," * 100_000 + "0,1", "GNU.sparse.size": 1}) + header(0), "holes"),
        (pax({"GNU.sparse.size": 1, "GNU.sparse.numblocks": 1}) + header(0), "holes"),
        (header(1 << 29), "ends early"),
    ],
)
def test_member_that_has_no_bound_is_refused_at_once(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(gzip.compress(content + b"\0" * 1024))
    with pytest.raises((tarfile.ReadError, EOFError), match=words):
        gzipped_tar_member(tmp_path / "a.tgz", "net.bin", 10)


def test_headers_nested_without_end_are_damaged(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2
    one = info.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")
    (tmp_path / "a.tgz").write_bytes(gzip.compress(one * 3000 + b"\0" * 1024))
    with pytest.raises(DAMAGED):
        gzipped_tar_member(tmp_path / "a.tgz", "net.bin", 10)


def test_encrypted_wheel_is_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("net.bin", b"abc")
    content = bytearray((tmp_path / "a.whl").read_bytes())
    for start, offset in ((0, 6), (content.find(b"PK\1\2"), 8)):
        content[start + offset] |= 1  # the flag that says so
    (tmp_path / "a.whl").write_bytes(content)
    with pytest.raises(DAMAGED):
        zip_member(tmp_path / "a.whl", "net.bin", 10)


def test_archive_without_an_end_has_no_such_file(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(gzip.compress(header(512) + b"x" * 512))
    with pytest.raises(KeyError):
        gzipped_tar_member(tmp_path / "a.tgz", "net.bin", 10)
