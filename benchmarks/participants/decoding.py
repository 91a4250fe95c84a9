"""Decoding and preprocessing beside a network in-process, for the limit of raw inputs."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Sequence
from typing import Self

from service.tasks.base import Task
from service.types import Instance, Item

INLINE, ONE, ALL = "inline", "one decoder", "a decoder a core"
ARRANGEMENTS = (INLINE, ONE, ALL)
"""Who decodes: each lane for its own batches, one thread for all lanes, or as many threads as there are cores."""
BATCHES_AHEAD = 4
"""Batches that the decoders may be ahead of the lanes."""


class Decoders:
    """Preprocessed inputs for lanes in batches of `rows`; use it as a context manager. `take` may be called by several lanes."""

    def __init__(self, task: Task, instances: Sequence[Instance], arrangement: str, rows: int, cores: int) -> None:
        self._task, self._rows = task, rows
        self._instances = itertools.cycle(instances)
        self._lock = threading.Lock()  # guards the cycle
        self._inline = arrangement == INLINE
        self._ready: queue.Queue[Item] = queue.Queue(BATCHES_AHEAD * rows)
        self._over = threading.Event()
        count = {INLINE: 0, ONE: 1, ALL: cores}[arrangement]
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        while any(thread.is_alive() for thread in self._threads):
            try:  # a decoder may wait for room
                self._ready.get(timeout=0.01)
            except queue.Empty:
                continue

    def take(self) -> list[Item]:
        """The next batch; blocks until the decoders have it."""
        if self._inline:
            return [self._decode() for _ in range(self._rows)]
        return [self._ready.get() for _ in range(self._rows)]

    def _run(self) -> None:
        while not self._over.is_set():
            self._ready.put(self._decode())

    def _decode(self) -> Item:
        with self._lock:
            instance = next(self._instances)
        (item,) = self._task.preprocess([instance], ["instances[0]"])
        assert isinstance(item, Item)
        return item
