"""What a file is, by the end of its name."""

from __future__ import annotations

from service.datasets.words import shown
from service.errors import InvalidInput

ARCHIVES = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar", ".tgz": "tar"}
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
TEXTS = (".txt", ".text", ".md")
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
SOUNDS = (".wav", ".flac", ".ogg")
OTHER_PICTURES = (".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif", ".svg")
OTHER_SOUNDS = (".mp3", ".m4a", ".aac", ".opus", ".wma", ".aiff")
"""Pictures and sounds that no served model takes: they are skipped by name, not passed over in silence."""
PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
INSTEAD = {
    ".xlsx": "save the sheet as CSV",
    ".xls": "save the sheet as CSV",
    ".ods": "save the sheet as CSV",
    ".json": "write one JSON object on each line of a .jsonl",
    ".gz": "unpack it, or send a .tar.gz",
    **dict.fromkeys((".rar", ".7z", ".bz2", ".xz"), "pack a .zip"),
    **dict.fromkeys((*PICTURES, *SOUNDS, *OTHER_PICTURES, *OTHER_SOUNDS), "pack a .zip with a folder for each class"),
}
"""What to do with files that people try."""
ENDINGS = (*ARCHIVES, *TABLES, *TEXTS)
"""Of what can be uploaded."""


def ending(file_name: str) -> str:
    """What a file is, by the end of its name. Raises InvalidInput for what no reader takes."""
    folded = file_name.casefold()
    found = next((end for end in sorted(ENDINGS, key=len, reverse=True) if folded.endswith(end)), "")
    if not found:
        hint = next((f"; {instead}" for end, instead in INSTEAD.items() if folded.endswith(end)), "")
        raise InvalidInput(
            "header.file_name", f"expected a name that ends in {', '.join(ENDINGS)}, got {shown(file_name)}{hint}"
        )
    return found
