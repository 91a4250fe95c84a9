"""A server's name in leases. It outlives the process, so that a server that comes back knows its own jobs at once.

The name lies in a file that is locked while the process lives. Whoever gets the lock knows that the last holder is dead, even one
that was killed, and goes on under its name; a second server on the same home takes the second file.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from pathlib import Path

MOST_SERVERS = 64


class Identity:
    """Holds the lock until `close`, or the end of the process. Raises OSError where home cannot be written."""

    def __init__(self, jobs: Path) -> None:
        """`jobs` is the folder of all jobs."""
        jobs.mkdir(parents=True, exist_ok=True)
        host = "".join(c if c.isalnum() or c in "-." else "_" for c in socket.gethostname())[:40] or "host"
        for number in range(MOST_SERVERS):
            # The host is part of it: on some shared disks, a lock is seen on its own machine only.
            try:
                self._handle = os.open(jobs / f".server-{host}-{number}", os.O_RDWR | os.O_CREAT, 0o600)
            except IsADirectoryError:  # no server has made that
                continue
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._handle)
                continue
            self.name = self._name(host)
            return
        raise OSError(f"more than {MOST_SERVERS} servers use this home")

    def close(self) -> None:
        """Lets the name go."""
        os.close(self._handle)

    def _name(self, host: str) -> str:
        name = os.read(self._handle, 64).decode(errors="replace")
        if not name.startswith(f"{host}-"):
            name = f"{host}-{secrets.token_hex(6)}"
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, name.encode(), 0)
            os.fsync(self._handle)
        return name
