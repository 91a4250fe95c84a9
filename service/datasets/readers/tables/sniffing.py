"""Detects the actual type of a file that is named like a table or a text, by its first bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path

SNIFFED_BYTES = 1024
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_POINTER_PROBLEM = "a pointer of Git LFS instead of the file: run `git lfs pull`"
SAVE = "save it as CSV"
_WORKBOOK = f"an Excel workbook: {SAVE}"
_PICTURE = "a picture: pack pictures into a .zip with a folder for each class"
_SOUND = "a sound: pack sounds into a .zip with a folder for each class"
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _WORKBOOK),
    (b"\x1f\x8b", "compressed with gzip: unpack it"),
    (b"BZh", "compressed with bzip2: unpack it"),
    (b"\xfd7zXZ\0", "compressed with xz: unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: pack a .zip"),
    (b"Rar!", "a rar archive: pack a .zip"),
    (b"PAR1", "a Parquet file: call it .parquet"),
    (b"ARROW1", "an Arrow file: save it as Parquet or CSV"),
    (b"FEA1", "a Feather file: save it as Parquet or CSV"),
    (b"Obj\x01", "an Avro file: save it as Parquet or CSV"),
    (b"ORC", "an ORC file: save it as Parquet or CSV"),
    (b"\x89HDF\r\n", "an HDF5 file: save it as Parquet or CSV"),
    (b"SQLite format 3\0", "an SQLite database: save its table as CSV"),
    (b"\x93NUMPY", "a NumPy file: save it as CSV"),
    (b"%PDF-", "a PDF document: save its table as CSV"),
    (b"{\\rtf", "an RTF document: save it as text"),
    (b"\xff\xd8\xff", _PICTURE),
    (b"\x89PNG\r\n", _PICTURE),
    (b"GIF8", _PICTURE),
    (b"OggS", _SOUND),
    (b"fLaC", _SOUND),
)
_MARKUP = ((b"<!doctype html", "a web page (HTML)"), (b"<html", "a web page (HTML)"), (b"<?xml", "an XML file"))


def other_file_type(path: Path, form: str) -> str:
    """The actual type of a file named `form` (`.csv`, …), with advice; empty if the file may have that type."""
    with path.open("rb") as file:
        start = file.read(SNIFFED_BYTES)
    if start.startswith(LFS_POINTER):
        return LFS_POINTER_PROBLEM
    if start[257:262] == b"ustar":
        return "a tar archive: call it .tar"
    if start[:4] == b"PK\x03\x04":
        return _of_zip(path)
    for beginning, what in _BEGINNINGS:
        if not start.startswith(beginning) or (form == ".parquet" and beginning == b"PAR1"):
            continue
        if not beginning.isalnum() or _is_binary(start):  # otherwise it is a header with such a column
            return what
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, what in _MARKUP:
        if text[: len(beginning)].lower() == beginning:
            return f"{what}: {SAVE}"
    if form in (".jsonl", ".ndjson") and text[:1] == b"[":
        return "one JSON array: write one JSON object on each line"
    if form in (".csv", ".tsv") and (text[:2] == b'{"' or (text[:1] == b"[" and text[1:].lstrip()[:1] == b"{")):
        return "JSON: write one JSON object on each line of a .jsonl"
    return ""


def file_looks_like_text(path: Path) -> bool:
    """Whether the first bytes of a file are text."""
    with path.open("rb") as file:
        start = file.read(SNIFFED_BYTES)
    return starts_like_text(start)


def starts_like_text(start: bytes) -> bool:
    """Whether a file with these first bytes is a text."""
    return bool(start) and not _is_binary(start)


def _is_binary(start: bytes) -> bool:
    return b"\0" in start or sum(byte < 9 for byte in start) > 0


def _of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            kind = (
                archive.read("mimetype")[:100]
                if "mimetype" in names and archive.getinfo("mimetype").file_size < 200
                else b""
            )
    except (zipfile.BadZipFile, OSError, KeyError, RuntimeError, NotImplementedError, ValueError):
        return "a zip archive that is cut off or damaged"
    if any(name.startswith("xl/") for name in names):
        return _WORKBOOK
    if b"opendocument.spreadsheet" in kind:
        return f"an OpenDocument spreadsheet: {SAVE}"
    if any(name.startswith("word/") for name in names) or b"opendocument.text" in kind:
        return "a word processor's document: save it as text, or its table as CSV"
    if any(name.startswith("Index/") for name in names):
        return f"a Numbers workbook: {SAVE}"
    if any(name.endswith(".npy") for name in names):
        return f"a NumPy archive: {SAVE}"
    return "a zip archive: call it .zip"
