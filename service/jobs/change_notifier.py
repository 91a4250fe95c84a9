"""Wakes those who wait for something new about a job. On the event loop only; it carries no news, only that there is some."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class ChangeNotifier:
    """Everybody who listens has an event of their own, which they clear before they look."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def listen(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is something new, until the context is left."""
        event = asyncio.Event()
        self._listeners[job_id].add(event)
        try:
            yield event
        finally:
            self._listeners[job_id].discard(event)
            if not self._listeners[job_id]:
                del self._listeners[job_id]

    def tell(self, job_id: str) -> None:
        """There is something new."""
        for event in self._listeners.get(job_id, ()):
            event.set()

    def tell_all(self) -> None:
        """Everybody is to look."""
        for job_id in self._listeners:
            self.tell(job_id)
