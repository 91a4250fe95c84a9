"""The server's Unix socket: its permissions, the socket of a dead server in its place, and its removal at the end."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class SocketTaken(Exception):
    """The path cannot be used. The text says why, and follows "cannot listen on …"."""


class UnixSocket:
    """One socket in the file system. `bind` once, `remove` when the server has stopped."""

    def __init__(self, path: Path, mode: int) -> None:
        """`mode`: who may connect, for example 0o600."""
        self.path = path
        self._mode = mode
        self._bound: tuple[int, int] | None = None

    def bind(self, listen: Callable[[], object]) -> None:
        """Has `listen` make the socket, which must be connectable when it returns. A socket that nobody listens on is removed
        first. Raises SocketTaken, OSError and what `listen` raises."""
        with _locked(self.path.parent):
            _make_way(self.path)
            before = os.umask(0o777 & ~self._mode)  # from its first moment on nobody else may connect
            try:
                listen()
            finally:
                os.umask(before)
            with suppress(FileNotFoundError):  # where `listen` has failed
                self._bound = _identity(self.path)

    def remove(self) -> None:
        """Removes the socket, unless another server has one of its own there."""
        with suppress(OSError):
            if self._bound is not None and self._bound == _identity(self.path):
                self.path.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder, so that of two servers that start at once the second finds the first one's socket."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_way(path: Path) -> None:
    """gRPC removes whatever socket it finds, so a server that lives must be found here."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketTaken(": there is something that is no socket")
    if _has_listener(path):
        raise SocketTaken("; is another server running there?")
    with suppress(FileNotFoundError):
        path.unlink()


def _has_listener(path: Path) -> bool:
    """Whether a process listens; also where that cannot be found out, for example on the socket of another user."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog must not hold up the start
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def _identity(path: Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino
