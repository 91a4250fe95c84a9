"""The process of a command: how it is prepared, and how it ends. Each error is one line on stderr, never a traceback."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from service.cli.crash_log import log_crash
from service.cli.error_messages import error_message
from service.cli.exit_codes import FAILED, INTERRUPTED
from service.cli.rendering.console import escaped, print_error, quoted
from service.cli.standard_output import flush_output, replace_standard_streams


def prepare_process() -> None:
    """Prepares streams, warnings and hooks, so that nothing but the command itself prints. Call it first."""
    replace_standard_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    threading.excepthook = lambda args: log_crash(args.exc_value)
    sys.unraisablehook = lambda args: log_crash(args.exc_value)
    if "serve" not in sys.argv[1:2]:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a call raises what users need to know


def run_command(command: Callable[[], object]) -> int:
    """Runs a command, prints its error if it raises one, and gives the exit code."""
    try:
        code = _exit_code(command)
    except KeyboardInterrupt:  # while an error was printed
        code = INTERRUPTED
    with suppress(ValueError):  # outside the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing left to clean up
    return flush_output(code)


def _exit_code(command: Callable[[], object]) -> int:
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
        text, code = error_message(error) or (_unexpected(error), FAILED)
        print_error(text)
        return code
    return 0


def _unexpected(error: BaseException) -> str:
    """The line for an unexpected error. Its traceback goes to the log file."""
    problem = f"zoo failed unexpectedly ({type(error).__name__})"
    if (log := log_crash(error)) is not None:
        return f"{problem}; the details are in {escaped(log)}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{problem}{where}, and no log can be written: {quoted(str(error))}"
