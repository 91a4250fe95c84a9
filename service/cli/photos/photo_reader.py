"""Reads photos while earlier ones are answered, and bounds what is in memory.

`values` runs in a thread of gRPC, everything else in the thread of the command.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from service.cli.photos.scan import Photo, too_large

MOST_BYTES_IN_FLIGHT = 64 << 20
"""Bytes of photos without an answer; a larger photo travels alone."""


@dataclass(frozen=True, slots=True)
class ReadPhoto:
    """A photo that was read, or the reason why it could not be."""

    photo: Photo
    """With the size and the time of change of what was read."""
    digest: bytes = b""
    data: bytes | None = None
    """What is sent; None for a photo that needs no call."""
    problem: str = ""


class PhotoReader:
    """The photos of one stream, in their order."""

    def __init__(
        self, photos: Iterable[Photo], answered: set[bytes], most_bytes: int, not_sent: Callable[[], None]
    ) -> None:
        """`answered`: digests of photos that need no call; those that are sent are added. `not_sent` is called, in gRPC's thread,
        for each photo that is read and not sent."""
        self._photos = photos
        self._answered = answered
        self._most_bytes = most_bytes
        self._not_sent = not_sent
        self._read: deque[ReadPhoto] = deque()
        self._window = ByteWindow(MOST_BYTES_IN_FLIGHT)

    def values(self) -> Iterator[bytes]:
        """The photos that need a call."""
        for photo in self._photos:
            read = self._read_photo(photo)
            if read.data is None:
                self._read.append(read)
                self._not_sent()
            elif self._window.enter(len(read.data)):
                self._read.append(read)
                yield read.data
            else:
                return

    def next_read(self) -> ReadPhoto | None:
        """The first photo that was read and not yet taken from here; None if there is none now."""
        read = self._read.popleft() if self._read else None
        if read is not None and read.data is not None:
            self._window.leave(len(read.data))
        return read

    def close(self) -> None:
        """Ends `values`, which may wait for an answer that nobody takes any more."""
        self._window.close()

    def _read_photo(self, photo: Photo) -> ReadPhoto:
        try:
            with photo.path.open("rb") as file:
                status = os.fstat(file.fileno())
                data = file.read(self._most_bytes + 1)
        except OSError as error:
            return ReadPhoto(photo, problem=f"cannot be read: {(error.strerror or type(error).__name__).lower()}")
        if len(data) > self._most_bytes:  # it has grown since the scan
            return ReadPhoto(photo, problem=too_large(max(status.st_size, len(data)), self._most_bytes))
        digest = hashlib.sha256(data).digest()
        now = replace(photo, size=status.st_size, modified_ns=status.st_mtime_ns)
        if digest in self._answered:
            return ReadPhoto(now, digest)
        self._answered.add(digest)  # a copy in the same run is not sent again
        return ReadPhoto(now, digest, data)


class ByteWindow:
    """Lets bytes in up to a limit; what is larger alone enters an empty window."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._closed = False
        self._changed = threading.Condition()

    def enter(self, size: int) -> bool:
        """Waits for room. False once the window is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._held or self._held + size <= self._limit)
            self._held += size
            return not self._closed

    def leave(self, size: int) -> None:
        """Makes room."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing enters any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
