"""Wakes the watchers of a job when there is something new in the database. It carries no data. Used on the event loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class ChangeNotifier:
    """Gives each watcher an event of its own, which the watcher clears before it reads."""

    def __init__(self) -> None:
        self._events: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at every change of a job, until the context is left."""
        event = asyncio.Event()
        self._events[job_id].add(event)
        try:
            yield event
        finally:
            self._events[job_id].discard(event)
            if not self._events[job_id]:
                del self._events[job_id]

    def notify(self, job_id: str) -> None:
        """Wakes the watchers of one job."""
        for event in self._events.get(job_id, ()):
            event.set()

    def notify_all(self) -> None:
        """Wakes every watcher."""
        for job_id in self._events:
            self.notify(job_id)
