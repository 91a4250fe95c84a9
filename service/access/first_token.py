"""The first admin token, from the file that ZOO_ADMIN_TOKEN_FILE names: the server reads it, or makes it.

A secret that an orchestrator mounts is read. A file that does not exist is made with a new token, readable by the server's user
alone. Several servers may do this at once: one of them makes the file, and all read it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from service.access.tokens import Secret, new_secret, parse

LONGEST_FILE = 1024
"""Bytes. A larger file is no token."""


class BadTokenFile(Exception):
    """The file cannot be used; the text says why, without its content."""


def read_or_make(path: Path) -> Secret:
    """The token in a file. Raises BadTokenFile."""
    try:
        with suppress(FileNotFoundError):
            return _read(path)
        _make(path)
        return _read(path)
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or "it is no name of a file").lower()
        raise BadTokenFile(f"it cannot be read or made: {why}") from None


def _read(path: Path) -> Secret:
    # Without waiting for a writer, where the path names a pipe.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise BadTokenFile("it is no file")
        if mode & (stat.S_IWGRP | stat.S_IRWXO):
            raise BadTokenFile(
                f"its mode is {stat.S_IMODE(mode):04o}: only its owner may write it, and others may not read it (0600 or 0640)"
            )
        content = file.read(LONGEST_FILE + 1)
    secret = parse(content.decode("ascii", "replace").strip()) if len(content) <= LONGEST_FILE else None
    if secret is None:
        raise BadTokenFile("it holds no token; remove it, and the server makes one, or use one of `zoo token create`")
    return secret


def _make(path: Path) -> None:
    """Makes the file complete or not at all. Does nothing where another server was first."""
    descriptor, name = tempfile.mkstemp(prefix=".token-", dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{new_secret().text}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
