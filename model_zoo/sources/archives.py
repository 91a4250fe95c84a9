"""Single files of archives, read in place: nothing is unpacked to disk, no link is followed, and all that is read is bounded."""

import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

__all__ = ["DAMAGED", "deb_member", "gzipped_tar_member", "zip_member"]

_MOST_UNPACKED = 1 << 30
"""Bytes of an archive that are unpacked in search of a file; a package of weights is smaller."""
_MOST_MEMBERS = 10_000
_MOST_HEADER = 1 << 20
"""Bytes of a header of a tar archive that holds long names and the like."""
_MOST_XZ_MEMORY = 256 << 20
_CHUNK = 1 << 20
_AR_MAGIC, _AR_HEADER, _AR_END, _MOST_AR_MEMBERS = b"!<arch>\n", 60, b"`\n", 100
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
)
"""Errors of the functions here for archives that are not in order. RuntimeError: one that is encrypted, whose headers are nested
without end (RecursionError), or that needs what the library lacks (NotImplementedError)."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def zip_member(artifact: Path, path: str, most: int) -> bytes:
    """Up to ``most`` bytes of a member of a zip file, such as a wheel. Raises KeyError, and those of ``DAMAGED``."""
    with zipfile.ZipFile(artifact) as wheel, wheel.open(path) as member:
        return member.read(most)


def gzipped_tar_member(artifact: Path, path: str, most: int) -> bytes:
    """Up to ``most`` bytes of a member of a gzipped tar, such as a package of npm. Raises KeyError, and those of ``DAMAGED``."""
    with gzip.open(artifact) as unpacked:
        return _tar_member(unpacked, path, most)


def deb_member(artifact: Path, path: str, most: int) -> bytes:
    """Up to ``most`` bytes of a file of a Debian package: a member of the tar in its part ``data.tar``, whose names may begin
    with ``./``. Raises KeyError, and those of ``DAMAGED``."""
    with artifact.open("rb") as file:
        name, data = _data_part(file)
        match name.removeprefix("data.tar"):
            case "":
                return _tar_member(data, path, most)
            case ".gz":
                with gzip.open(data) as unpacked:
                    return _tar_member(unpacked, path, most)
            case ".xz":
                return _tar_member(_Xz(data), path, most)
            case ".zst":
                return _tar_member(_zstd(data), path, most)
    raise tarfile.ReadError("another compression than those of Debian")


def _tar_member(unpacked: _Stream, path: str, most: int) -> bytes:
    """Up to ``most`` bytes of a member, which must be a plain file: a link could lead outside.

    The archive is read once as a stream, without an index: of two members with the same name the first is taken.
    Raises KeyError; tarfile.ReadError if the archive is unreasonably large.
    """
    bounded: Any = _Bounded(unpacked, _MOST_UNPACKED)
    with tarfile.open(fileobj=bounded, mode="r|", bufsize=_CHUNK, tarinfo=_Header) as archive:
        members: Iterable[tarfile.TarInfo] = archive
        for count, info in enumerate(members):
            if count >= _MOST_MEMBERS:
                raise tarfile.ReadError("too many members")
            if info.name.removeprefix("./") == path:
                if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    raise tarfile.ReadError("the member is not a plain file")
                content = archive.extractfile(info)
                assert content is not None
                return bytes(content.read(most))
    raise KeyError(path)


class _Header(tarfile.TarInfo):
    """A header of a member. One that extends the next is read into memory whole, so that its size is bounded. Files with holes
    are refused: the list of their parts has no bound."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "_Header":
        found = super().frombuf(buf, encoding, errors)
        if found.type in _EXTENSIONS and found.size > _MOST_HEADER:
            raise tarfile.ReadError("a header is unreasonably large")
        return found

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Header":
        found = super().fromtarfile(archive)
        if found.type == tarfile.GNUTYPE_SPARSE or found.sparse:
            raise tarfile.ReadError("a member has holes")
        if not 0 <= found.size <= _MOST_UNPACKED:
            raise tarfile.ReadError("a member is unreasonably large")
        return found

    def _refused(self, *_: object) -> None:
        raise tarfile.ReadError("a member has holes")

    # Methods of the class above for extended headers of files with holes: each reads a list as long as it says.
    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refused


_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Bounded:
    """A stream that raises after a number of bytes: a small archive can unpack to terabytes."""

    def __init__(self, stream: _Stream, most: int) -> None:
        self._stream = stream
        self._remaining = most
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end. Raises tarfile.ReadError after too many, and EOFError for a reader that goes
        on after the end, such as one that skips a large member."""
        content = self._stream.read(size)
        if size and not content:
            if self._ended:
                raise EOFError("the archive ends early")
            self._ended = True
        self._remaining -= len(content)
        if self._remaining < 0:
            raise tarfile.ReadError("the archive unpacks to more than a package would hold")
        return content


class _Part(io.RawIOBase):
    """Bytes of a file from where it is."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file, self._remaining = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(min(len(buffer), self._remaining))
        buffer[: len(content)] = content
        self._remaining -= len(content)
        return len(content)


class _Xz:
    """A stream that is unpacked with bounded memory: an xz file may ask for gigabytes."""

    def __init__(self, packed: _Stream) -> None:
        self._packed = packed
        self._unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MOST_XZ_MEMORY)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end. Raises LZMAError, EOFError."""
        while not self._unpacker.eof:
            packed = self._packed.read(_CHUNK) if self._unpacker.needs_input else b""
            if self._unpacker.needs_input and not packed:
                raise EOFError("the stream ends early")
            if content := self._unpacker.decompress(packed, size):
                return content
        return b""


class _Zstd:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        try:
            return bytes(self._stream.read(size))
        except OSError as error:  # of the library, for damaged data
            raise tarfile.ReadError("it cannot be unpacked") from error


def _zstd(packed: _Part) -> _Zstd:
    import pyarrow

    return _Zstd(pyarrow.CompressedInputStream(pyarrow.PythonFile(packed, mode="r"), "zstd"))


def _data_part(file: io.BufferedReader) -> tuple[str, _Part]:
    """Name and content of the part of a Debian package that holds its files. Raises tarfile.ReadError."""
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise tarfile.ReadError("it is no Debian package")
    for _ in range(_MOST_AR_MEMBERS):
        header = file.read(_AR_HEADER)
        if len(header) != _AR_HEADER or header[58:] != _AR_END or not header[48:58].strip().isdigit():
            break
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(header[48:58])
        if name.startswith("data.tar"):
            return name, _Part(file, size)
        file.seek(size + size % 2, io.SEEK_CUR)
    raise tarfile.ReadError("it is no Debian package")
