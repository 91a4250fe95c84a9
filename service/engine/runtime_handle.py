"""The place of the runtime that serves a model: batches borrow it, and a better one takes its place between them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.runtime.network import Runtime


class RuntimeHandle:
    """Holds one runtime. All methods may be called from any thread."""

    def __init__(self, runtime: Runtime) -> None:
        self._lock = threading.Lock()
        self._current = runtime
        self._borrowed: dict[int, int] = {}  # batches inside, by identity of their runtime

    @property
    def current(self) -> Runtime:
        """What the next batch will run in."""
        return self._current

    @contextmanager
    def borrow(self) -> Iterator[Runtime]:
        """The runtime for one batch, which stays whole until the batch has ended."""
        with self._lock:
            runtime = self._current
            self._borrowed[id(runtime)] = self._borrowed.get(id(runtime), 0) + 1
        try:
            yield runtime
        finally:
            with self._lock:
                left = self._borrowed.pop(id(runtime)) - 1
                if left:
                    self._borrowed[id(runtime)] = left
                last = not left and runtime is not self._current
            if last:
                runtime.free()

    def exchange(self, runtime: Runtime) -> None:
        """From now on batches run in this one. The old one is freed once those that are inside have ended."""
        with self._lock:
            old, self._current = self._current, runtime
            idle = id(old) not in self._borrowed
        if idle and old is not runtime:
            old.free()
