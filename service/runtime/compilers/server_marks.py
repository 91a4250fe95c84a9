"""Names of files and folders that belong to one server as long as it lives: `.KIND-<process id>-<server>…`."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

SERVER = uuid.uuid4().hex[:8]
"""Identifies this process. The process id is not enough: in a container every server may have the same one."""
_NAME = re.compile(r"\.[a-z]+-([1-9][0-9]{0,9})-([0-9a-f]{8})(-[0-9a-f]+)?")


def mark(kind: str) -> str:
    """A name of this server."""
    return f".{kind}-{os.getpid()}-{SERVER}"


def belongs_to_dead_server(path: Path) -> bool:
    """Whether the server of a name has ended. A name that no server gives belongs to none."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return True
    pid = int(found[1])
    return found[2] != SERVER if pid == os.getpid() else not _alive(pid)


def is_mark(path: Path) -> bool:
    """Whether a server gives such names, to a file."""
    return _NAME.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
