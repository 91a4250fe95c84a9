"""The name of a server in leases. It outlives the process, so that a server that starts again knows its own jobs at once.

The name lies in a file that is locked while the process lives. A process that gets the lock knows that the last holder has ended,
even one that was killed, and takes over its name. A second server on the same home takes the second file.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from pathlib import Path

MAX_SERVERS = 64


class Identity:
    """Holds the lock until `close`, or until the process ends. Raises OSError where the home cannot be written."""

    def __init__(self, jobs: Path) -> None:
        """`jobs` is the folder of all jobs."""
        jobs.mkdir(parents=True, exist_ok=True)
        host = "".join(c if c.isalnum() or c in "-." else "_" for c in socket.gethostname())[:40] or "host"
        for number in range(MAX_SERVERS):
            # The host is part of the name: on some shared disks, a lock is visible on its own machine only.
            try:
                self._file = os.open(jobs / f".server-{host}-{number}", os.O_RDWR | os.O_CREAT, 0o600)
            except IsADirectoryError:  # not made by a server
                continue
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._file)
                continue
            self.name = self._read_or_make_name(host)
            return
        raise OSError(f"more than {MAX_SERVERS} servers use this home")

    def close(self) -> None:
        """Releases the name."""
        os.close(self._file)

    def _read_or_make_name(self, host: str) -> str:
        name = os.read(self._file, 64).decode(errors="replace")
        if not name.startswith(f"{host}-"):
            name = f"{host}-{secrets.token_hex(6)}"
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, name.encode(), 0)
            os.fsync(self._file)
        return name
