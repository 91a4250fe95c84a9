"""One writer at a time for one thing, between threads and between processes.

The lock is advisory, belongs to an open file and ends with it, so a killed process leaves no stale lock behind, only an
empty file. It spares a second process the work; correctness does not rest upon it, because results are published by
rename.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["exclusive", "held"]


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` (made if absent, its folder too). Blocks until it is free. Not reentrant."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        if sys.platform != "win32":
            import fcntl

            # flock, not lockf: its owner is the open file, so it also holds off another thread of this process.
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def held(path: Path, *, alone: bool) -> int | None:
    """Hold a lock file together with others, or alone, until the descriptor that this gives is closed or the process ends.

    Never waits: None where somebody else holds it in a way that does not go with this. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if sys.platform == "win32":
        return descriptor
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
