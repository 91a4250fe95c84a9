"""The log file that holds the tracebacks of unexpected errors of commands."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

LOG_NAME = "zoo.log"
LARGEST_LOG = 1024 * 1024
"""Bytes; a larger log is renamed to `zoo.log.1`."""


def log_crash(error: BaseException | None) -> Path | None:
    """Appends an error to the log, and gives the log's path; None if no log can be written."""
    if error is None or isinstance(error, SystemExit | KeyboardInterrupt):
        return None
    try:
        details = "".join(traceback.format_exception(error))
    except Exception:  # the error's text cannot be made
        details = f"{type(error).__name__}\n"
    for folder in _log_folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.lstat().st_uid != os.getuid():  # another user may have made it in the folder of temporary files
                continue
            log = folder / LOG_NAME
            if log.is_file() and log.stat().st_size > LARGEST_LOG:
                log.replace(folder / f"{LOG_NAME}.1")
            with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {_command_name()}\n{details}\n")
        except (OSError, ValueError):
            continue
        return log
    return None


def _log_folders() -> list[Path]:
    """Folders that may hold the log, the best first."""
    import tempfile

    import platformdirs

    folders = []
    if home := os.environ.get("ZOO_HOME"):
        with suppress(RuntimeError):
            folders.append(Path(home).expanduser() / "log")
    with suppress(RuntimeError, OSError):
        folders.append(Path(platformdirs.user_log_dir("zoo", appauthor=False)))
    with suppress(OSError):
        folders.append(Path(tempfile.gettempdir()) / f"zoo-{os.getuid()}")
    return [folder for folder in folders if folder.is_absolute()]


def _command_name() -> str:
    """The command and Zoo's version. Arguments are left out: they may be private."""
    from service import __version__

    words = [word for word in sys.argv[1:2] if word.isalpha()]
    return " ".join(["zoo", *words, __version__])
