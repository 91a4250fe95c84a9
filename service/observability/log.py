"""Structured logs: console lines on a terminal, JSON elsewhere. Logging never raises: a line that cannot be formatted or written
is dropped and counted (`standard_streams.lost`)."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

from service.observability.printable import printable
from service.observability.standard_streams import Stream, lost, protect


def logger(name: str) -> Any:
    """A logger with the name of the calling module. Cheap; may be called at import."""
    return structlog.get_logger(name)


class _CallerIsConnected(logging.Filter):
    """Drops gRPC's log of a reply whose caller disconnected just before, with its traceback. This is usual under load."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("ExecuteBatchError raised in core by servicer method")


_CALLER_IS_CONNECTED = _CallerIsConnected()  # a single object, so that a second `configure` does not add it again


class _Lines:
    """The logger that structlog writes to: a method for each level takes one line."""

    def __init__(self, stream: Stream) -> None:
        self.msg = stream.line

    def __getattr__(self, level: str) -> Any:
        return self.msg


class _Handler(logging.StreamHandler[Any]):
    """Handler for log records of libraries. A record whose arguments do not fit its format is dropped and counted."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the base class names it so
        lost.add(1)


LEVELS = ("error", "warning", "info", "debug")
"""From the fewest lines to the most."""
LONGEST_VALUE = 4096
"""Characters of one value of a line; texts of callers among them may be longer."""


class _Level:
    """The least level that is written, as the standard library numbers it."""

    number = logging.INFO


def level() -> str:
    """The level in effect: one of LEVELS."""
    return logging.getLevelName(_Level.number).lower()


def set_level(name: str) -> None:
    """Changes the level while the process runs, for all loggers at once. May be called from any thread."""
    _Level.number = logging.getLevelNamesMapping()[name.upper()]


def _bounded(escape: bool) -> Any:
    """Cuts long texts. `escape`: also shows characters that would break a line, or hide in it; JSON escapes them anyway."""

    def process(_logger: Any, _method: str, fields: Any) -> Any:
        for name, value in fields.items():
            if type(value) is str and (len(value) > LONGEST_VALUE or (escape and not value.isprintable())):
                fields[name] = printable(value, LONGEST_VALUE) if escape else value[:LONGEST_VALUE]
        return fields

    return process


def _never_failing() -> Any:
    filtering: Any = structlog.make_filtering_bound_logger(logging.DEBUG)

    class Logger(filtering):  # type: ignore[misc]
        # Loggers are cached where they are first used, so the level is looked up at each line.
        def debug(self, event: str, *arguments: Any, **fields: Any) -> Any:
            return super().debug(event, *arguments, **fields) if _Level.number <= logging.DEBUG else None

        def info(self, event: str, *arguments: Any, **fields: Any) -> Any:
            return super().info(event, *arguments, **fields) if _Level.number <= logging.INFO else None

        def warning(self, event: str, *arguments: Any, **fields: Any) -> Any:
            return super().warning(event, *arguments, **fields) if _Level.number <= logging.WARNING else None

        def _proxy_to_logger(self, *arguments: Any, **fields: Any) -> Any:
            try:
                return super()._proxy_to_logger(*arguments, **fields)
            except Exception:  # a field that cannot be shown
                lost.add(1)
                return None

    return Logger


def configure(least: str, style: str) -> None:
    """Configures the process's logging once, at start. `least`: one of LEVELS. `style`: `console`, `json`, or `auto`: console
    on a terminal.

    From then on writes to standard output and error neither fail nor block.
    """
    protect(queued=True)
    set_level(least)
    stream = sys.stderr
    assert isinstance(stream, Stream)
    console = style == "console" or (style == "auto" and stream.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        _bounded(escape=console),
    ]
    last: list[Any] = (
        # A plain traceback: the default one shows the variables of every frame, among them payloads of callers.
        [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), sort_keys=False, exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=shared + last,
        wrapper_class=_never_failing(),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=True,
    )
    # Libraries that use the standard library's logging: warnings and errors, one line each.
    logging.raiseExceptions = False
    logging.basicConfig(
        handlers=[_Handler(stream)], level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True
    )
    logging.captureWarnings(True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_CALLER_IS_CONNECTED)
    threading.excepthook = _log_thread_failure
    sys.unraisablehook = _log_unraisable


_log = logger(__name__)


def _log_thread_failure(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        name = args.thread.name if args.thread is not None else ""
        _log.error("a thread failed", thread=name, exc_info=_triple(args.exc_type, args.exc_value, args.exc_traceback))


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    _log.error(
        "an error could not be raised",
        where=repr(args.object)[:200],
        exc_info=_triple(args.exc_type, args.exc_value, args.exc_traceback),
    )


def _triple(kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> Any:
    return (kind, value, trace) if value is not None else False
