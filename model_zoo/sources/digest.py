"""sha256 of files and bytes, and their comparison with expected digests."""

import hashlib
from pathlib import Path

from model_zoo.errors import DigestMismatch

__all__ = ["check_bytes", "check_file", "sha256_of_bytes", "sha256_of_file"]


def sha256_of_file(path: Path) -> str:
    """Lower-case hex sha256 of a file, read in chunks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_bytes(content: bytes) -> str:
    """Lower-case hex sha256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def check_file(path: Path, expected: str, name: str | None = None) -> None:
    """Compare a file with its expected sha256, or with the first digits of it; a wrong file is removed.

    Raises:
        DigestMismatch: they differ. The message names the file by ``name``, or by its file name.
    """
    got = sha256_of_file(path)
    if not expected or not got.startswith(expected):
        path.unlink(missing_ok=True)
        raise DigestMismatch(name or path.name, expected, got)


def check_bytes(content: bytes, expected: str, name: str) -> None:
    """Compare bytes with their expected sha256.

    Raises:
        DigestMismatch: they differ.
    """
    got = sha256_of_bytes(content)
    if got != expected:
        raise DigestMismatch(name, expected, got)
