"""Decodes the names of archive members.

A zip file says whether a name is UTF-8 or in code page 437. Many programs write UTF-8 without saying so (macOS does), and a
name in a code page is hardly ever valid UTF-8; so a name that is valid UTF-8 is read as UTF-8. Some programs write backslashes
between folders.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import Final

IS_UTF8: Final = 0x800
"""The flag bit of a zip member whose name is UTF-8."""
UNICODE_PATH: Final = 0x7075
"""Info-ZIP's extra field: version 1, the CRC-32 of the name in the header, the name in UTF-8."""
WINDOWS: Final = "cp1252"
"""The code page of most names in a tar that are not UTF-8."""


def zip_name(member: zipfile.ZipInfo) -> str:
    """The name of a member, with slashes between folders."""
    name = member.orig_filename
    if not member.flag_bits & IS_UTF8 and not name.isascii():
        raw = name.encode("cp437")
        name = _unicode_path(member.extra, raw) or _utf8(raw) or name
    return with_slashes(name)


def tar_name(name: str) -> str:
    """The name of a member, with slashes between folders; a name that is not UTF-8 is decoded by a code page."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape")
        try:
            name = raw.decode(WINDOWS)
        except UnicodeDecodeError:
            name = raw.decode("latin-1")
    return with_slashes(name)


def with_slashes(name: str) -> str:
    """The name with slashes instead of backslashes."""
    return name.replace("\\", "/")


def _unicode_path(extra: bytes, raw: bytes) -> str:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + size]
        if kind == UNICODE_PATH and len(body) > 5 and body[0] == 1:
            (check,) = struct.unpack_from("<I", body, 1)
            return _utf8(body[5:]) if check == zlib.crc32(raw) else ""
        at += 4 + size
    return ""


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""
