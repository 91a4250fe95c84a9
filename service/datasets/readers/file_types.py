"""File types by the suffix of a file's name."""

from __future__ import annotations

from service.datasets.formatting import quoted
from service.errors import InvalidInput

ARCHIVE_FORMATS = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar", ".tgz": "tar"}
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
TEXT_SUFFIXES = (".txt", ".text", ".md")
CONLL_SUFFIXES = (".conll", ".bio", ".iob", ".iob2")
"""Words with tags, one a line."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus")
UNSUPPORTED_IMAGE_SUFFIXES = (".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg", ".jxl", ".jp2")
UNSUPPORTED_AUDIO_SUFFIXES = (".mp3", ".m4a", ".aac", ".wma", ".aiff", ".aif", ".au", ".caf", ".amr")
"""Images and sounds that no served model accepts: they are skipped with a reason."""
PACKED_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar")
SUGGESTIONS = {
    ".xlsx": "save the sheet as CSV",
    ".xls": "save the sheet as CSV",
    ".ods": "save the sheet as CSV",
    ".json": "write one JSON object on each line of a .jsonl",
    ".gz": "unpack it, or send a .tar.gz",
    **dict.fromkeys((".rar", ".7z", ".bz2", ".tbz2", ".xz", ".txz", ".zst"), "pack a .zip"),
    **dict.fromkeys(
        (*IMAGE_SUFFIXES, *AUDIO_SUFFIXES, *UNSUPPORTED_IMAGE_SUFFIXES, *UNSUPPORTED_AUDIO_SUFFIXES),
        "pack a .zip with a folder for each class",
    ),
}
"""Advice for files of unsupported types."""
UPLOAD_TYPES = (*ARCHIVE_FORMATS, *TABLE_SUFFIXES, *TEXT_SUFFIXES, *CONLL_SUFFIXES)
"""Suffixes of files that can be uploaded."""


def file_type(file_name: str) -> str:
    """The type of a file: the suffix of its name. Raises InvalidInput for a type without a reader."""
    folded = file_name.casefold()
    found = next((end for end in sorted(UPLOAD_TYPES, key=len, reverse=True) if folded.endswith(end)), "")
    if not found:
        hint = next((f"; {instead}" for end, instead in SUGGESTIONS.items() if folded.endswith(end)), "")
        raise InvalidInput(
            "header.file_name", f"expected a name that ends in {', '.join(UPLOAD_TYPES)}, got {quoted(file_name)}{hint}"
        )
    return found


def media_type_of(start: bytes) -> str:
    """`picture` or `sound` for a supported format, judged by a file's first 12 bytes; empty for anything else."""
    if start[:3] == b"\xff\xd8\xff" or start[:8] == b"\x89PNG\r\n\x1a\n":
        return "picture"
    if start[:4] in (b"RIFF", b"RF64"):
        return {b"WEBP": "picture", b"WAVE": "sound"}.get(start[8:12], "")
    return "sound" if start[:4] in (b"fLaC", b"OggS") else ""
