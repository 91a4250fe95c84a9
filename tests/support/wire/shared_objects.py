"""Objects of POSIX shared memory, as clients of this machine make them. Each is removed at the end of its test."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

FOLDER = Path("/dev/shm")


class SharedObject:
    """One object. Its key holds a word by which a test finds it in a text."""

    WORD = "hush"

    def __init__(self, size: int, content: bytes = b"") -> None:
        self.key = f"/{self.WORD}-{uuid.uuid4().hex}"
        self.path = FOLDER / self.key[1:]
        self.path.write_bytes(content.ljust(size, b"\0"))

    def read(self, start: int = 0, count: int | None = None) -> bytes:
        data = self.path.read_bytes()
        return data[start:] if count is None else data[start : start + count]

    def write(self, data: bytes, start: int = 0) -> None:
        with self.path.open("r+b") as file:
            file.seek(start)
            file.write(data)

    def shorten(self, size: int) -> None:
        os.truncate(self.path, size)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
