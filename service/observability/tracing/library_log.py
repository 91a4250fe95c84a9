"""Keeps the log lines of OpenTelemetry's packages out of the server's output: their texts repeat values of callers and of the
environment, among them keys, and nothing bounds their number."""

from __future__ import annotations

import logging

from service.observability.log import logger

LIBRARY = "opentelemetry"
"""The logger above all those of its packages."""
MOST_PLACES = 64
"""Places of the packages that get a line."""

log = logger(__name__)


class _Places(logging.Handler):
    """Logs once that a place of the packages had something to say, without what it said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: set[tuple[str, int]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Called for each line."""
        place = (record.name, record.lineno)
        if place not in self._seen and len(self._seen) < MOST_PLACES:
            self._seen.add(place)
            log.warning("a package of OpenTelemetry has a problem", package=record.name, source_line=record.lineno)


def keep_to_our_log() -> None:
    """From now on. May be called again."""
    above = logging.getLogger(LIBRARY)
    above.handlers, above.propagate = [_Places()], False
