"""What is sent where a dataset is uploaded: a file as it is, a folder as an archive, and where to go on after a break."""

from __future__ import annotations

import errno
import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from service.client.errors import BadInput
from service.client.plain import quoted
from service.client.plan import FileWork
from service.folder_walk import Folder, LeftOut, look_into
from service.pb import fine_tuning_pb2 as pb

CHUNK = 512 * 1024
"""Bytes in a message; the server takes up to 4 MiB, and less where it was set to take small messages only."""

Progress = Callable[[int, int, str], None]
"""Bytes done, bytes in all, and what is done with them: `packing`, `reading`, `sending` or `checking`. The last says that all
bytes are there and the server looks at them."""

_TABLES = ("text", "table", "series")
_PICTURES = ("image_folder", "image_table")
_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"), _TABLES),
    **dict.fromkeys((".txt", ".text", ".md"), ("text", "plain_text")),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"), _PICTURES),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".oga", ".opus"), ("audio_folder",)),
}
"""Kinds of data to which a file may belong."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can tell: the same folder packed twice is the same file, and the server knows it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is ready to be sent. A context: one that was made for it goes away at its end."""

    path: Path
    file_name: str
    """Its ending says what it is."""
    sha256: str
    size_bytes: int
    made: ExitStack
    """What goes away."""
    left_out: tuple[LeftOut, ...] = ()
    """Of a folder: what is not sent, and why."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.made.close()


@dataclass(frozen=True, slots=True)
class Open(FileWork):
    """The Source of a file or a folder."""

    path: Path
    progress: Progress

    def perform(self) -> Source:
        """See `opened`."""
        return opened(self.path, self.progress)


@dataclass(frozen=True, slots=True)
class Look(FileWork):
    """The kinds of which data may be."""

    data: str | Path

    def perform(self) -> tuple[str, ...]:
        """See `kinds_in`."""
        return kinds_in(self.data)


def refuse_blank(data: str | Path) -> None:
    """Raises BadInput for a text without a name in it: as a path it would be the current folder, with all that is there."""
    if isinstance(data, str) and not data.strip():
        raise BadInput(
            f"data: expected a file, a folder or a URI, got {data!r}; the current folder is '.'", reason="NO_DATA"
        )


def silent(done: int, total: int, what: str) -> None:
    """Shows no progress."""


def opened(path: Path, progress: Progress) -> Source:
    """The file to send for a file or a folder, hashed. Blocks.

    Raises BadInput for what cannot be read or holds nothing.
    """
    with ExitStack() as made:
        left_out: tuple[LeftOut, ...] = ()
        try:
            if path.is_dir():
                folder = Path(made.enter_context(tempfile.TemporaryDirectory(prefix="zoo-upload-")))
                archive = folder / f"{path.resolve().name or 'data'}.zip"
                inside = look_into(path)
                _pack(inside, str(path), archive, progress)
                path, left_out = archive, tuple(inside.left_out)
            sha256, size = _digest(path, progress)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise BadInput(
                    "the folder has no room to be packed in the folder of temporary files; set TMPDIR to one on another disk",
                    reason="NO_ROOM",
                ) from None
            why = (error.strerror or type(error).__name__).lower()
            raise BadInput(f"cannot read {quoted(error.filename or path)}: {why}", reason="UNREADABLE_FILE") from None
        except ValueError:
            raise BadInput(f"cannot read {quoted(path)}: that is no name of a file", reason="UNREADABLE_FILE") from None
        return Source(path, path.name, sha256, size, made.pop_all(), left_out)


def kinds_in(data: str | Path) -> tuple[str, ...]:
    """The kinds of data that there may be in a file or folder, by the names of its files; none where they do not tell. Blocks.

    They serve to refuse early what cannot be meant: what it is, the server finds out.
    """
    if isinstance(data, str) and "://" in data:
        return ()
    refuse_blank(data)
    path = Path(data)
    names = [name for name, _ in look_into(path).files] if path.is_dir() else [path.name]
    endings = {PurePosixPath(name).suffix.lower() for name in names}
    return tuple(dict.fromkeys(kind for end in sorted(endings) for kind in _KINDS.get(end, ())))


def messages(
    source: Source, header: pb.UploadHeader, offset: int, progress: Progress
) -> Iterator[pb.UploadDatasetRequest]:
    """The header, then the bytes from `offset` on. Blocks while it reads. Raises BadInput where the file cannot be read on."""
    header.offset = offset
    yield pb.UploadDatasetRequest(header=header)
    done = offset
    try:
        with source.path.open("rb") as file:
            file.seek(offset)
            while done < source.size_bytes and (chunk := file.read(min(CHUNK, source.size_bytes - done))):
                progress(done, source.size_bytes, "sending")
                yield pb.UploadDatasetRequest(chunk=chunk)
                done += len(chunk)
    except OSError as error:
        raise BadInput(f"cannot read {quoted(source.path)}: {(error.strerror or '').lower()}") from None
    progress(done, source.size_bytes, "checking")


def _digest(path: Path, progress: Progress) -> tuple[str, int]:
    total = path.stat().st_size
    if total == 0:
        raise BadInput(f"{str(path)!r} is empty", reason="EMPTY_FILE")
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(done, max(total, done), "reading")
    return digest.hexdigest(), done


def _pack(folder: Folder, shown: str, archive: Path, progress: Progress) -> None:
    """All files of a folder in order of name, without times and owners.

    Stored, not deflated: pictures and sounds are compressed already.
    """
    if not folder.files:
        why = f"; {folder.left_out[0].name!r} {folder.left_out[0].reason}" if folder.left_out else ""
        raise BadInput(f"the folder {shown!r} holds no files{why}", reason="EMPTY_FOLDER")
    total, done = sum(path.stat().st_size for _, path in folder.files), 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name in folder.empty:
            packed.writestr(_entry(f"{name}/"), b"")
        for name, path in folder.files:
            with path.open("rb") as content, packed.open(_entry(name), "w", force_zip64=True) as place:
                while chunk := content.read(CHUNK):
                    place.write(chunk)
                    done += len(chunk)
                    progress(done, max(total, done), "packing")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.create_system, entry.external_attr = 3, (0o755 << 16 | 0x10) if name.endswith("/") else 0o644 << 16
    return entry
