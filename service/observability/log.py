"""Structured logs: lines for people on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def logger(name: str) -> Any:
    """A logger named after the module that asks. Cheap; may be called at import."""
    return structlog.get_logger(name)


class _CallerIsThere(logging.Filter):
    """Drops what gRPC says, traceback and all, of an answer whose caller left just before: under load that is usual."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("ExecuteBatchError raised in core by servicer method")


_CALLER_IS_THERE = _CallerIsThere()  # one, so that setting logging anew does not add it again


def configure(level: str, style: str) -> None:
    """Sets the process's logging once, at start. `style`: `console`, `json`, or `auto` (console on a terminal)."""
    people = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
    ]
    last: list[Any] = (
        # A plain traceback: the default one shows every frame's variables, among them what callers sent.
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), sort_keys=False, exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=shared + last,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries that use the standard library's logging: only what is serious, in one line.
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("grpc._cython.cygrpc").addFilter(_CALLER_IS_THERE)
