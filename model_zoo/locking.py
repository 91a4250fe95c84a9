"""One writer at a time for one thing, between threads and between processes.

The lock is advisory, belongs to an open file and ends with it, so a killed process leaves no stale lock behind, only an
empty file. It spares a second process the work; correctness does not rest upon it, because results are published by
rename.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["exclusive"]


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
