"""Extracts users' zip and tar files. Nothing is ever written outside the target folder.

An archive that could do harm is refused as a whole: one with paths that lead out of it, links, devices, two files of one name, or
far more data than its size allows. Files that operating systems add (`__MACOSX`, `Thumbs.db`, names that begin with a dot) are
ignored and counted.
"""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO

from service.datasets.dataset_limits import MIB, DatasetLimits
from service.datasets.formatting import has_control, quoted
from service.datasets.readers.tables.sniffing import (
    LFS_POINTER,
    SNIFFED_BYTES,
    other_file_type,
    starts_like_text,
)
from service.datasets.upload.member_names import tar_name, zip_name
from service.errors import InvalidInput

CHUNK = MIB
UNCHECKED_BYTES = 16 * MIB
"""Up to this size any ratio is accepted: a small file of equal rows is no bomb."""
MAX_DEPTH = 32
MAX_NAME_BYTES = 255
"""Bytes of one component of a path, as file systems limit it."""

FIELD = "data"
SYSTEM_FOLDERS = ("__macosx", "$recycle.bin", "system volume information")
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
"""Files that operating systems add, in lower case, beside names that begin with a dot."""
OTHER_FORMATS = (
    (b"PK", "zip", "a zip; call it .zip"),
    (b"Rar!\x1a\x07", "", "a RAR archive; pack a .zip"),
    (b"7z\xbc\xaf\x27\x1c", "", "a 7-Zip archive; pack a .zip"),
    (b"\x28\xb5\x2f\xfd", "", "packed by Zstandard; pack a .zip or .tar.gz"),
    (b"\x1f\x8b", "tar", "packed by gzip; call it .tar.gz, or pack a .zip"),
    (b"BZh", "tar", "packed by bzip2; pack a .zip"),
    (b"\xfd7zXZ\x00", "tar", "packed by xz; pack a .zip"),
)
"""(first bytes, format that they belong to, what the file is and what to do) of files that are named .zip or .tar."""


def ignore(name: str) -> None:
    """Does nothing with the name of an ignored file."""


def extract(
    archive: Path, form: str, folder: Path, limits: DatasetLimits, on_ignored: Callable[[str], None] = ignore
) -> int:
    """Extract into `folder`, which must be empty, and return the number of files in it. `passed` gets the name of each ignored
    file.

    Raises InvalidInput; the caller must then delete the folder.
    """
    unpack = _Extraction(folder, archive.stat().st_size, limits, on_ignored)
    try:
        for name, content in _zip(archive, limits) if form == "zip" else _tar(archive, limits):
            if content is None:
                unpack.folder(name)
            else:
                unpack.write(name, content)
    except NotImplementedError:
        raise InvalidInput(FIELD, "the zip is packed in a way that is not supported; use deflate") from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the disk; errors of gzip and bz2 about their data have no errno
        raise InvalidInput(FIELD, _why_not(archive, form)) from None
    return unpack.files


def _why_not(archive: Path, form: str) -> str:
    """Why a file could not be extracted, judged by its first bytes."""
    with archive.open("rb") as file:
        start = file.read(SNIFFED_BYTES)
    other = next((what for mark, of, what in OTHER_FORMATS if of != form and start.startswith(mark)), "")
    mark = next(
        (of for mark, of, _ in OTHER_FORMATS if of and start.startswith(mark)),
        "tar" if start[257:262] == b"ustar" else "",
    )
    if not other and mark != form:
        other = "a tar; call it .tar" if mark else _what_else(archive, start)
    if other:
        return f"the file is no {form}, but {other}"
    looks = ""
    if not mark:
        looks = (
            ": it is text, perhaps what a server answered" if starts_like_text(start) else "" if start else ", or empty"
        )
    return f"the {form} file is broken or cut off{looks}"


def _what_else(archive: Path, start: bytes) -> str:
    """The type of a file that is no archive, if its first bytes tell."""
    other = other_file_type(archive, "")
    if start.startswith(LFS_POINTER) or not other:
        return other
    if starts_like_text(start):  # a web page or XML
        return f"{other.partition(':')[0]}; perhaps what a server answered instead of the file"
    return f"{other.partition(':')[0]}; pack the files into a .zip"


class _Extraction:
    """Counts while it writes, because the sizes in headers cannot be trusted."""

    def __init__(
        self, folder: Path, packed_bytes: int, limits: DatasetLimits, on_ignored: Callable[[str], None]
    ) -> None:
        self.files = 0
        self._on_ignored = on_ignored
        self._folder = folder
        self._limits = limits
        self._most_honest = max(UNCHECKED_BYTES, packed_bytes * limits.ratio)
        self._bytes = 0

    def write(self, name: str, content: IO[bytes]) -> None:
        path = safe_path(name)
        if path is None:
            self._on_ignored(name)
            return
        self.files += 1
        if self.files > self._limits.files:
            raise InvalidInput(FIELD, f"the archive holds more than {self._limits.files} files, which is the limit")
        target = self._folder.joinpath(*path.parts)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while chunk := content.read(CHUNK):
                    self._count(len(chunk))
                    file.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise InvalidInput(FIELD, f"the archive holds {quoted(name)} twice") from None

    def folder(self, name: str) -> None:
        """Creates a folder that the archive lists itself; an empty one is worth a warning."""
        path = safe_path(name)
        if path is not None:
            try:
                self._folder.joinpath(*path.parts).mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise InvalidInput(FIELD, f"the archive holds {quoted(name)} twice") from None

    def _count(self, more: int) -> None:
        self._bytes += more
        if self._bytes > self._limits.dataset_bytes:
            most = self._limits.dataset_bytes // MIB
            raise InvalidInput(FIELD, f"the archive unpacks to more than {most} MiB, which is the limit")
        if self._bytes > self._most_honest:
            raise InvalidInput(
                FIELD, f"the archive unpacks to more than {self._limits.ratio} times its size: it looks like a bomb"
            )


def safe_path(name: str) -> PurePosixPath | None:
    """The path of a member below the folder; None for an ignored file. Raises InvalidInput for a path that leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0][1:2] == ":"):
        raise InvalidInput(FIELD, f"the archive holds {quoted(name)}, a path that leads out of it")
    if not path.parts or is_system_file(path):
        return None
    if len(path.parts) > MAX_DEPTH:
        raise InvalidInput(FIELD, f"the archive's folders are more than {MAX_DEPTH} deep")
    for part in path.parts:
        if len(part.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES or has_control(part):
            raise InvalidInput(
                FIELD, f"the archive holds a file called {quoted(part)}, which is not a usable name; rename it"
            )
    return path


def is_system_file(path: PurePosixPath) -> bool:
    """Whether a file was added by an operating system, or is hidden."""
    return (
        any(part.startswith(".") or part.casefold() in SYSTEM_FOLDERS for part in path.parts)
        or path.name.casefold() in SYSTEM_FILES
    )


def _zip(archive: Path, limits: DatasetLimits) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        if len(members) > 4 * limits.files:
            raise InvalidInput(FIELD, f"the archive holds more than {limits.files} files, which is the limit")
        for member in members:
            if "\0" in member.orig_filename:
                raise InvalidInput(FIELD, "the archive holds a name with a NUL in it")
            name = zip_name(member)
            path = safe_path(name)
            if name.endswith("/") and not member.file_size:
                yield name, None
                continue
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _no_file(name)
            if path is not None and member.flag_bits & 0x1:
                raise InvalidInput(FIELD, f"the zip is encrypted ({quoted(name)}); send it without a password")
            if path is None:
                yield name, io.BytesIO()
                continue
            with file.open(member) as content:
                yield name, content


def _no_file(name: str) -> InvalidInput:
    return InvalidInput(
        FIELD,
        f"the archive holds {quoted(name)}, a link or device; pack the files that links lead to (zip without -y,"
        " tar --dereference --hard-dereference)",
    )


def _tar(archive: Path, limits: DatasetLimits) -> Iterator[tuple[str, IO[bytes] | None]]:
    seen = 0
    with closing(tarfile.open(archive, "r:*")) as file:
        while (member := file.next()) is not None:
            file.members.clear()  # type: ignore[attr-defined]  # tarfile remembers every member; a long archive would fill the memory
            seen += 1
            if seen > 4 * limits.files:
                raise InvalidInput(FIELD, f"the archive holds more than {limits.files} files, which is the limit")
            name = tar_name(member.name)
            if member.isdir():
                yield name, None
                continue
            if not member.isreg():
                raise _no_file(name)
            content = file.extractfile(member)
            if content is not None:
                with content:
                    yield name, content
