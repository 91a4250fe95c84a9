"""Names in archives are decoded as their writers meant them."""

import binascii
import io
import struct
import unicodedata
import zipfile
from pathlib import Path

import pytest

from tests.support.datasets.dataset_files import (
    photos,
    picture,
    read,
    tarred,
    zipped,
)


def renamed(files: dict[str, bytes], raw: dict[str, bytes], extra: dict[str, bytes] | None = None) -> bytes:
    """A zip with these bytes as names, without the flag for their encoding."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, (name, content) in enumerate(files.items()):
            stand_in = str(i) * len(raw.get(name, name.encode()))
            member = zipfile.ZipInfo(stand_in)
            member.extra = (extra or {}).get(name, b"")
            archive.writestr(member, content)
    data = bytearray(buffer.getvalue())
    at = 0
    for mark, skip, lengths in ((b"PK\x03\x04", 30, 26), (b"PK\x01\x02", 46, 28)):
        at = 0
        for name in files:
            at = data.index(mark, at)
            new = raw.get(name, name.encode())
            assert struct.unpack_from("<H", data, at + lengths)[0] == len(new)
            data[at + skip : at + skip + len(new)] = new
            at += 4
    return bytes(data)


FILES = {"Vögel/0.jpg": picture(1), "Vögel/1.jpg": picture(2), "dog/0.jpg": picture(3), "dog/1.jpg": picture(4)}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_zip_names_in_utf8_without_the_flag_are_decoded(tmp_path: Path, form: str) -> None:
    """As macOS packs."""
    raw = {name: unicodedata.normalize(form, name).encode() for name in FILES}
    assert read(tmp_path, "a.zip", renamed(FILES, raw)).info.labels == ("Vögel", "dog")


def test_zip_names_in_code_page_437_are_decoded(tmp_path: Path) -> None:
    assert read(tmp_path, "a.zip", renamed(FILES, {n: n.encode("cp437") for n in FILES})).info.labels == (
        "Vögel",
        "dog",
    )


def test_zip_names_in_the_info_zip_extra_field_take_precedence(tmp_path: Path) -> None:
    files = {"Птицы/0.jpg": picture(1), "Птицы/1.jpg": picture(2), "dog/0.jpg": picture(3), "dog/1.jpg": picture(4)}
    raw = {name: name.encode("cp866") for name in files}
    extra = {}
    for name, old in raw.items():
        body = b"\x01" + struct.pack("<I", binascii.crc32(old)) + name.encode()
        extra[name] = struct.pack("<HH", 0x7075, len(body)) + body
    assert read(tmp_path, "a.zip", renamed(files, raw, extra)).info.labels == ("dog", "Птицы")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_tar_names_are_decoded_in_utf8_or_a_code_page(tmp_path: Path, encoding: str) -> None:
    files = {name.encode(encoding).decode("utf-8", "surrogateescape"): content for name, content in FILES.items()}
    buffer = io.BytesIO()
    import tarfile

    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert read(tmp_path, "a.tar", buffer.getvalue()).info.labels == ("Vögel", "dog")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_backslashes_in_names_separate_folders(tmp_path: Path, form: str) -> None:
    files = {name.replace("/", "\\"): content for name, content in photos({"cat": 3, "dog": 3}).items()}
    if form == "zip":
        files = {"cat\\": b"", **files}
    data = zipped(files) if form == "zip" else tarred(files)
    report = read(tmp_path, f"a.{form}.gz" if form == "tar" else "a.zip", data).info.report
    assert report.class_counts == {"cat": 3, "dog": 3}
