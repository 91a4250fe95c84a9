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
ENDINGS = (*ARCHIVES, *TABLES, *TEXTS)
"""Of what can be uploaded."""


def ending(file_name: str) -> str:
    """What a file is, by the end of its name. Raises InvalidInput for what no reader takes."""
    folded = file_name.casefold()
    found = next((end for end in sorted(ENDINGS, key=len, reverse=True) if folded.endswith(end)), "")
    if not found:
        raise InvalidInput(
            "header.file_name", f"expected a name that ends in {', '.join(ENDINGS)}, got {shown(file_name)}"
        )
    return found
