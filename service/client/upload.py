"""The data of an upload: a file as it is, a folder as an archive, from any offset."""

from __future__ import annotations

import errno
import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from service.client.datasets import Columns, kind_value, write_columns
from service.client.errors import BadInput
from service.client.message_fields import build, quoted
from service.folder_walk import Folder, LeftOut, look_into
from service.pb import fine_tuning_pb2 as pb

CHUNK = 512 * 1024
"""Bytes in a message. The server takes up to 4 MiB, and less if its settings say so."""

Progress = Callable[[int, int, str], None]
"""A callback with the bytes done, the bytes in all, and the step: `packing`, `reading`, `sending` or `checking`. With `checking`
the server has all bytes and validates them."""

_TABLES = ("text", "table", "series")
_IMAGES = ("image_folder", "image_table", "boxes", "masks")
_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".parquet"), _TABLES),
    **dict.fromkeys((".jsonl", ".ndjson"), (*_TABLES, "spans")),
    **dict.fromkeys((".txt", ".text", ".md"), ("text", "plain_text", "spans")),
    **dict.fromkeys((".conll", ".bio", ".iob", ".iob2"), ("spans",)),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"), _IMAGES),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".oga", ".opus"), ("audio_folder",)),
}
"""Kinds of dataset that may contain a file, by its suffix."""

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time of the zip format, of every entry: a folder packed again gives the same bytes."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is ready to be sent. As a context manager it removes its temporary files at the end."""

    path: Path
    file_name: str
    """The server recognises the format by its suffix."""
    sha256: str
    size_bytes: int
    temporary: ExitStack
    """Removes the temporary files."""
    left_out: tuple[LeftOut, ...] = ()
    """Files of a folder that are not sent, with the reason."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.temporary.close()


def refuse_blank(data: str | Path) -> None:
    """Raises BadInput for a blank text, which as a path would mean the current folder."""
    if isinstance(data, str) and not data.strip():
        raise BadInput(
            f"data: expected a file, a folder or a URI, got {data!r}; the current folder is '.'", reason="NO_DATA"
        )


def silent(done: int, total: int, what: str) -> None:
    """Ignores progress."""


def opened(path: Path, progress: Progress) -> Source:
    """The source of a file or a folder, packed and hashed. Blocks.

    Raises BadInput for data that cannot be read or is empty.
    """
    with ExitStack() as temporary:
        left_out: tuple[LeftOut, ...] = ()
        try:
            if path.is_dir():
                folder = Path(temporary.enter_context(tempfile.TemporaryDirectory(prefix="zoo-upload-")))
                archive = folder / f"{path.resolve().name or 'data'}.zip"
                content = look_into(path)
                _pack(content, str(path), archive, progress)
                path, left_out = archive, tuple(content.left_out)
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
        return Source(path, path.name, sha256, size, temporary.pop_all(), left_out)


def upload_header(
    display_name: str, kind: str, columns: Columns | Mapping[str, str] | None, task: str
) -> pb.UploadHeader:
    """The header of an upload, without what is known once the data is opened. Raises BadInput for invalid values."""
    return build(
        pb.UploadHeader,
        display_name=display_name,
        kind=kind_value(kind),
        columns=None if columns is None else build(write_columns, columns),
        task=task,
    )


def describe_source(header: pb.UploadHeader, source: Source) -> None:
    """Completes a header with the digest, size and names of its source."""

    def fill() -> None:
        header.sha256, header.size_bytes = source.sha256, source.size_bytes
        header.file_name = _file_name(source.file_name, header.kind)
        header.display_name = header.display_name or source.file_name[:128]

    build(fill)


def kinds_in(data: str | Path) -> tuple[str, ...]:
    """The kinds of dataset that a file or folder may be, by its file names; empty if the names do not tell. Blocks.

    They allow an early error for an impossible kind; the server determines the kind.
    """
    if isinstance(data, str) and "://" in data:
        return ()
    refuse_blank(data)
    path = Path(data)
    names = [name for name, _ in look_into(path).files] if path.is_dir() else [path.name]
    suffixes = {PurePosixPath(name).suffix.lower() for name in names}
    return tuple(dict.fromkeys(kind for suffix in sorted(suffixes) for kind in _KINDS.get(suffix, ())))


def messages(
    source: Source, header: pb.UploadHeader, offset: int, progress: Progress
) -> Iterator[pb.UploadDatasetRequest]:
    """The header, then the bytes from `offset`. Blocks while it reads. Raises BadInput if the file can no longer be read."""
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


def _file_name(name: str, kind: int) -> str:
    """The file name that the server gets: plain text gets a suffix of plain text, because users name such files freely."""
    known = (".txt", ".text", ".md", ".zip", ".tar", ".tar.gz", ".tgz")
    return f"{name}.txt" if kind == pb.DATASET_KIND_PLAIN_TEXT and not name.lower().endswith(known) else name


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
    """Packs all files of a folder in order of name, without times and owners, so that equal folders give equal archives.

    Files are stored, not deflated: images and sounds are compressed already.
    """
    if not folder.files:
        why = f"; {folder.left_out[0].name!r} {folder.left_out[0].reason}" if folder.left_out else ""
        raise BadInput(f"the folder {shown!r} holds no files{why}", reason="EMPTY_FOLDER")
    total, done = sum(path.stat().st_size for _, path in folder.files), 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name in folder.empty:
            packed.writestr(_entry(f"{name}/"), b"")
        for name, path in folder.files:
            with path.open("rb") as content, packed.open(_entry(name), "w", force_zip64=True) as entry:
                while chunk := content.read(CHUNK):
                    entry.write(chunk)
                    done += len(chunk)
                    progress(done, max(total, done), "packing")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.create_system, entry.external_attr = 3, (0o755 << 16 | 0x10) if name.endswith("/") else 0o644 << 16
    return entry
