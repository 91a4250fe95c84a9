"""The standard streams of a command: every character can be written, whatever the console and the locale are."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

from service.cli.error_messages import describe_os_error
from service.cli.exit_codes import FAILED
from service.cli.rendering.console import print_error
from service.observability.standard_streams import Direct, Stream, open_closed

_NAME = "standard output"


def replace_standard_streams() -> None:
    """Opens streams that are closed, and replaces stdout and stderr by streams that take every character."""
    open_closed()
    restart_in_utf8()
    encoding, is_terminal = sys.stdout.encoding, sys.stdout.isatty()
    # Detached: otherwise the old stream closes the file when it is collected.
    output = _Output(
        cast(io.TextIOWrapper, sys.stdout).detach(), encoding, "backslashreplace", line_buffering=is_terminal
    )
    sys.stdout = sys.__stdout__ = output  # type: ignore[misc]
    sys.stderr = Stream(Direct(2, patient=True), sys.stderr.encoding or "utf-8")


class _Output(io.TextIOWrapper):
    """Standard output. Its errors carry its name, as errors of files do."""

    def write(self, text: str, /) -> int:
        with _errors_with_name():
            return super().write(text)

    def flush(self) -> None:
        with _errors_with_name():
            super().flush()


@contextmanager
def _errors_with_name() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = _NAME
        raise


def restart_in_utf8() -> None:
    """Restarts the process in Python's UTF-8 mode if the locale says ASCII: arguments and file names are UTF-8 there too."""
    if sys.getfilesystemencoding() != "ascii" or os.environ.get("PYTHONUTF8") == "1" or not sys.executable:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", "ascii:backslashreplace")
    with suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # the command line of this process


def flush_output(code: int) -> int:
    """Flushes stdout, and gives the exit code. At its exit Python would print a traceback for a stream that cannot be written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno != errno.EPIPE and not code:
            print_error(f"{_NAME!r}: {describe_os_error(error)}")
        with suppress(OSError, ValueError):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, sys.stdout.fileno())
            os.close(devnull)
            sys.stdout.flush()
        code = code or FAILED
    return code
