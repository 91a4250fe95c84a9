"""Partial uploads: `ZOO_HOME/uploads/<name>.part`, which outlive broken connections and restarts. See `header.part_name`.

A part has one writer at a time: the lock belongs to the open file, so it ends with its process, and holds between processes that
share a home. Functions here block; the store calls them in threads.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from model_zoo.sources.digest import sha256_of_file
from service.datasets.upload.staging import remove_path, try_lock
from service.errors import InvalidInput, NotReady

UPLOADS = "uploads"
UPLOAD_RETENTION_S = 24 * 3600.0
"""How long an interrupted upload is kept."""
RETRY_S = 1.0


class PartialUpload:
    """The bytes of one upload so far. Thread-safe."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()  # close() must not close the file during a write
        self.size = os.fstat(descriptor).st_size

    def append(self, data: bytes) -> None:
        """Append bytes, all of them or none. Raises OSError for a full disk."""
        with self._lock:
            if self._descriptor is None:
                raise NotReady("another call continues this upload; ask GetUpload for its size", RETRY_S)
            view, written = memoryview(data), 0
            try:
                while written < len(data):
                    written += os.pwrite(self._descriptor, view[written:], self.size + written)
            except OSError:
                os.ftruncate(self._descriptor, self.size)
                raise
            self.size += written

    def sha256(self) -> str:
        """The digest of all bytes."""
        return sha256_of_file(self.path)

    def close(self) -> None:
        """Release the lock for the next writer; the bytes stay."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def remove(self) -> None:
        """Delete the bytes. Does nothing after another call has taken over."""
        with self._lock:
            if self._descriptor is not None:
                self.path.unlink(missing_ok=True)
                os.close(self._descriptor)
                self._descriptor = None


def part_path(home: Path, name: str) -> Path:
    """The file of an upload."""
    return home / UPLOADS / f"{name}.part"


def received(home: Path, name: str) -> int:
    """Bytes received of an upload; 0 for an unknown one."""
    path = part_path(home, name)
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def sizes(home: Path, prefix: str) -> dict[str, int]:
    """Name and bytes of each upload whose name begins with a prefix."""
    found = {}
    for path in (home / UPLOADS).glob(f"{prefix}*.part"):
        with suppress(FileNotFoundError):
            found[path.name.removesuffix(".part")] = path.stat().st_size
    return found


def open_part(home: Path, name: str, offset: int) -> PartialUpload | None:
    """Open the part to continue at `offset`; None while another call holds it.

    Raises InvalidInput if the part ends elsewhere.
    """
    path = part_path(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():  # not made by a server
        remove_path(path)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not try_lock(descriptor):
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:  # otherwise its last holder deleted it before this process got the lock
            break
        os.close(descriptor)
    part = PartialUpload(path, descriptor)
    if part.size != offset:
        size = part.size
        part.close() if size else part.remove()
        raise InvalidInput(
            "header.offset", f"the server has {size} bytes of this upload, so continue at {size}, got {offset}"
        )
    return part


def remove_stale(home: Path, now: float | None = None) -> None:
    """Delete parts that have not changed for a day."""
    for path in (home / UPLOADS).glob("*.part"):
        try:
            if (now or time.time()) - path.stat().st_mtime < UPLOAD_RETENTION_S:
                continue
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except IsADirectoryError:
            remove_path(path)
            continue
        try:
            if try_lock(descriptor):
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
