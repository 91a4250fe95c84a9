"""Regions of system shared memory that callers registered: Triton's extension `system_shared_memory`, on Linux.

A caller on this machine puts tensors into an object of POSIX shared memory, registers it by name, and sends the name in place of
the bytes. All callers and the server are one trust domain: a caller reaches every object that the server's user may open.

The server copies by `pread` and `pwrite` and never maps an object. Its owner may shorten it at any moment, also between a check
and a copy. A mapping would then end the process by SIGBUS; a read only comes up short.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_shared_memory.html
"""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.errors import AlreadyExists, InvalidInput, QuotaExceeded, RegionNotFound

OBJECTS = Path("/dev/shm")  # noqa: S108  # where Linux has the objects of shm_open
"""Folder of the shared memory objects."""

MOST_REGIONS = 1024
"""Each holds a descriptor."""
LARGEST_REGION = 16 * 1024**3
"""Bytes."""
LONGEST_NAME = 256
"""Characters of the name of a region, which is a name and no path."""
LONGEST_KEY = 255
"""Bytes of the name of an object, as Linux limits them."""


class RegionTooShort(Exception):
    """The object of a region has become shorter than it was when it was registered, or cannot be copied."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Region:
    """A part of a shared memory object. Its descriptor is closed with the last reference, so that a request in flight keeps a
    region that is unregistered meanwhile. Any thread may read and write."""

    key: str
    """As the caller named the object."""
    offset: int
    """First byte of the object."""
    byte_size: int
    descriptor: int

    def __post_init__(self) -> None:
        weakref.finalize(self, os.close, self.descriptor)

    def read(self, start: int, count: int) -> bytes:
        """A copy of `count` bytes from byte `start` of the region on. The caller has checked both. Raises RegionTooShort."""
        at = self.offset + start
        try:
            data = os.pread(self.descriptor, count, at)
            while 0 < len(data) < count and (more := os.pread(self.descriptor, count - len(data), at + len(data))):
                data += more
        except OSError:
            raise RegionTooShort from None
        if len(data) < count:
            raise RegionTooShort
        return data

    def write(self, start: int, data: bytes) -> None:
        """Copies `data` to byte `start` of the region. The caller has checked both. Raises RegionTooShort."""
        at, left = self.offset + start, memoryview(data)
        try:
            # Writing past the end would make the object longer. One that is shortened between the two calls becomes at most as
            # long again as the caller had it.
            if os.fstat(self.descriptor).st_size < at + len(left):
                raise RegionTooShort
            while left:
                done = os.pwrite(self.descriptor, left, at)
                at, left = at + done, left[done:]
        except OSError:
            raise RegionTooShort from None


class Regions:
    """The registered regions by name. Changed on the event loop only; any thread may look one up.

    No error names a region or its object.
    """

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes` of shared memory that the inputs of one request may name, as the size of a message is limited."""
        self.most_bytes = most_bytes
        self._regions: dict[str, Region] = {}

    def find(self, name: str) -> Region | None:
        """The region of this name."""
        return self._regions.get(name)

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Opens a part of the object `key`. Raises InvalidInput, AlreadyExists, QuotaExceeded."""
        if not 0 < len(name) <= LONGEST_NAME:
            raise InvalidInput("name", f"expected 1 to {LONGEST_NAME} characters, got {len(name)}")
        if not 0 < byte_size <= LARGEST_REGION:
            raise InvalidInput("byte_size", f"expected 1 to {LARGEST_REGION} bytes, got {byte_size}")
        path = _path(key)
        if name in self._regions:
            raise AlreadyExists("name: a region of this name is registered; unregister it first")
        if len(self._regions) >= MOST_REGIONS:
            raise QuotaExceeded(f"{MOST_REGIONS} shared memory regions are registered; unregister one first")
        self._regions[name] = _open(path, key, offset, byte_size)

    def unregister(self, name: str) -> None:
        """Forgets a region, or all for an empty name. As with Triton, an unknown name is no error."""
        if name:
            self._regions.pop(name, None)
        else:
            self._regions.clear()

    def status(self, name: str) -> Mapping[str, Region]:
        """The region of this name, or all for an empty name. Raises RegionNotFound."""
        if not name:
            return dict(self._regions)
        region = self._regions.get(name)
        if region is None:
            raise RegionNotFound
        return {name: region}


def _path(key: str) -> Path:
    """The file of an object. Only a plain name is accepted, so that no other file can be opened."""
    name = key.removeprefix("/")
    size = len(name.encode(errors="replace"))
    if not 0 < size <= LONGEST_KEY or "/" in name or "\0" in name or name in (".", ".."):
        raise InvalidInput(
            "key",
            f"expected the name of a shared memory object: 1 to {LONGEST_KEY} bytes, a slash at the start only, not . or ..",
        )
    return OBJECTS / name


def _open(path: Path, key: str, offset: int, byte_size: int) -> Region:
    try:
        # Neither a symbolic link nor what waits for another process when it is opened.
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InvalidInput("key", "there is no shared memory object of this name on the server's machine") from None
    except (OSError, ValueError):
        raise InvalidInput("key", "the server may not read and write the shared memory object of this name") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInput("key", "expected a shared memory object, got something else of this name")
        if offset + byte_size > found.st_size:
            raise InvalidInput(
                "byte_size",
                f"expected offset and byte_size within the {found.st_size} bytes of the object, got {offset} and {byte_size}",
            )
    except InvalidInput:
        os.close(descriptor)
        raise
    return Region(key, offset, byte_size, descriptor)
