"""How a command of `zoo` ends that does not end well: one line on stderr and an exit code, never a traceback.

prepare    before anything else: streams that take every character, and hooks that print nothing
sentence   the line for an error that users, files or networks cause
guarded    runs a command and gives its exit code; an error that nobody expected goes to a log file
"""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from service.cli.rendering.console import escaped, print_error, quoted
from service.observability.standard_streams import Direct, Stream, open_closed

if TYPE_CHECKING:
    import typer

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
"""Exit codes; the last after Ctrl-C, as shells have it."""
LOG = "zoo.log"
LARGEST_LOG = 1024 * 1024
"""Bytes; a larger log is put aside as `zoo.log.1`."""

# Expected errors, by the module that defines them, and the exit code. An error can only be one of them if its module
# has been imported, so nothing is imported to find out.
_EXPECTED = (
    ("service.client.errors", "ZooClientError", FAILED),
    ("model_zoo.errors", "ZooModelError", FAILED),
    ("service.settings", "SettingsError", MISUSED),
)
_OURS = ("service", "model_zoo")


def prepare() -> None:
    """Makes the process fit for any console, locale and set of open streams. Call it first."""
    open_closed()
    _in_utf8()
    encoding, people = sys.stdout.encoding, sys.stdout.isatty()
    # Detached, since the stream that goes away would else close what it writes to.
    output = _Output(cast(io.TextIOWrapper, sys.stdout).detach(), encoding, "backslashreplace", line_buffering=people)
    sys.stdout = sys.__stdout__ = output  # type: ignore[misc]
    sys.stderr = Stream(Direct(2, patient=True), sys.stderr.encoding or "utf-8")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    threading.excepthook = lambda args: record(args.exc_value)
    sys.unraisablehook = lambda args: record(args.exc_value)
    if "serve" not in sys.argv[1:2]:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what concerns people comes as an error of the call


class _Output(io.TextIOWrapper):
    """Standard output, whose errors say of what they are."""

    def write(self, text: str, /) -> int:
        with _named():
            return super().write(text)

    def flush(self) -> None:
        with _named():
            super().flush()


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = "standard output"
        raise


def _in_utf8() -> None:
    """Starts anew in Python's UTF-8 mode where the locale leaves it with ASCII: arguments and names of files are UTF-8 there."""
    if sys.getfilesystemencoding() != "ascii" or os.environ.get("PYTHONUTF8") == "1" or not sys.executable:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", "ascii:backslashreplace")
    with suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # this process, as it was started


def sentence(error: BaseException) -> tuple[str, int] | None:
    """What to say of an error that was to be expected, and the exit code; None for any other."""
    for module, name, code in _EXPECTED:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return str(error), code
    match error:
        case ModuleNotFoundError():
            if error.name is None or error.name.partition(".")[0] in _OURS:
                return None
            return f"this needs the package {error.name!r}; the extra `server` of zoo-serving brings it", FAILED
        case UnicodeEncodeError() if isinstance(error.object, str) and any(map(_is_surrogate, error.object)):
            return f"{quoted(error.object)} is not valid UTF-8", FAILED
        case ValueError() if "embedded null" in str(error):
            return "the name of a file holds a NUL, which no name can", FAILED
        case OSError() if error.filename is not None:
            name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
            return f"{quoted(name)}: {_why(error)}", FAILED
    return None


def of_option(error: typer.BadParameter) -> str:
    """What was expected of a number on the command line, and what came; empty where that was not what is wrong."""
    found: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if not found:
        return ""
    kind, bounds, got = found[0]["type"], found[0].get("ctx", {}), found[0]["input"]
    words = {"ge": "of at least", "le": "of at most", "gt": "above", "lt": "below"}
    bound = next((f" {words[key]} {value:g}" for key, value in bounds.items() if key in words), "")
    if not bound and not kind.startswith(("int_", "float_")):
        return ""
    number = "a whole number" if kind.startswith("int_") else "a number"
    return f"expected {number}{bound}, got {quoted(str(got))}"


def guarded(command: Callable[[], object]) -> int:
    """Runs a command to its end, whatever that is, and gives the exit code."""
    try:
        code = _code_of(command)
    except KeyboardInterrupt:  # while it was told of another
        code = INTERRUPTED
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # from here on there is nothing to clean up
    return _flushed(code)


def _code_of(command: Callable[[], object]) -> int:
    try:
        command()
    except SystemExit as end:
        if isinstance(end.code, str):
            print_error(end.code)
        return end.code if isinstance(end.code, int) else FAILED if end.code else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except BaseException as error:
        told = sentence(error)
        text, code = told or (_unexpected(error), FAILED)
        print_error(text)
        return code
    return 0


def _unexpected(error: BaseException) -> str:
    what = f"zoo failed unexpectedly ({type(error).__name__})"
    if (log := record(error)) is not None:
        return f"{what}; the details are in {escaped(log)}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{what}{where}, and no log can be written: {quoted(str(error))}"


def record(error: BaseException | None) -> Path | None:
    """Appends an error to the log file of commands, and gives its path; None where no log can be written."""
    if error is None or isinstance(error, SystemExit | KeyboardInterrupt):
        return None
    try:
        details = "".join(traceback.format_exception(error))
    except Exception:  # an error that cannot even be shown
        details = f"{type(error).__name__}\n"
    for folder in _log_folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.lstat().st_uid != os.getuid():  # in a folder for temporary files anybody may have made it
                continue
            log = folder / LOG
            if log.is_file() and log.stat().st_size > LARGEST_LOG:
                log.replace(folder / f"{LOG}.1")
            with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {_verb()}\n{details}\n")
        except (OSError, ValueError):
            continue
        return log
    return None


def _log_folders() -> list[Path]:
    """Where the log may lie, the best place first."""
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


def _verb() -> str:
    """Which command it was; not its arguments, which may be anybody's data."""
    from service import __version__

    words = [word for word in sys.argv[1:2] if word.isalpha()]
    return " ".join(["zoo", *words, __version__])


def _flushed(code: int) -> int:
    """Writes out what is left, here rather than when Python ends, which would print a traceback."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno != errno.EPIPE and not code:
            print_error(f"'standard output': {_why(error)}")
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
            sys.stdout.flush()
        code = code or FAILED
    return code


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
