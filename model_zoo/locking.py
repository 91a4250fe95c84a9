"""Lock files, between threads and between processes.

A lock is advisory, belongs to an open file and ends with it, so a killed process leaves no stale lock behind, only an empty file.
Locks spare a second process the same work. Correctness does not depend on them, because results are published by rename.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["exclusive_lock", "passing_lock", "shared_lock", "try_lock"]


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; the file and its folder are made if absent. Blocks until the lock is free. Not reentrant."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        _wait(handle.fileno())
        yield


@contextmanager
def passing_lock(path: Path) -> Iterator[None]:
    """As ``exclusive_lock``, for a name that may never be used again: the file is removed when the lock is released.

    All holders of such a file must take it by this function: one that waited for a file which was removed takes the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("ab") as handle:
            _wait(handle.fileno())
            if not _is_at(handle.fileno(), path):
                continue
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()
            return


def _wait(descriptor: int) -> None:
    if sys.platform != "win32":
        import fcntl

        # flock, not lockf: its owner is the open file, so it also holds off another thread of this process.
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def shared_lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` together with others that share it; made if absent. Blocks while one holder excludes others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path, *, exclusive: bool) -> int | None:
    """Take a lock file without waiting, shared or exclusive. The lock ends when the returned descriptor or the process is closed.

    Returns None if another holder excludes this lock. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if sys.platform == "win32":
        return descriptor
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
