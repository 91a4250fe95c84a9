"""The handle of the runtime that serves a model: batches borrow the runtime, and another runtime may replace it between them."""

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
        self._borrowed: dict[int, int] = {}  # id(runtime) → batches that run in it

    @property
    def current(self) -> Runtime:
        """The runtime of the next batch."""
        return self._current

    @contextmanager
    def borrow(self) -> Iterator[Runtime]:
        """Gives the runtime for one batch. It is not freed before the batch ends."""
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

    def swap(self, runtime: Runtime) -> None:
        """The next batches run in `runtime`. The old runtime is freed when the batches that run in it have ended."""
        with self._lock:
            old, self._current = self._current, runtime
            idle = id(old) not in self._borrowed
        if idle and old is not runtime:
            old.free()
