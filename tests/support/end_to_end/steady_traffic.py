"""Callers that call all the time while something else happens to the servers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tests.support.end_to_end.server_process import until

PAUSE_S = 0.03
"""Of a caller between two calls: callers without a pause would leave no core to jobs."""
MOST_FAILURES = 20
"""Failures after which a caller gives up."""


class SteadyTraffic:
    """One thread for each caller. A call that raises anything is a failure, and the caller goes on."""

    def __init__(self, callers: Sequence[Callable[[], None]]) -> None:
        self.failures: list[str] = []
        self._answered = [0] * len(callers)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(place, caller), daemon=True)
            for place, caller in enumerate(callers)
        ]

    def flows(self, calls: int) -> None:
        """Returns once every caller has got so many answers from now on."""
        wanted = [answered + calls for answered in self._answered]
        until(
            lambda: bool(self.failures) or all(a >= w for a, w in zip(self._answered, wanted, strict=True)),
            f"{calls} answers of each caller",
        )
        assert not self.failures, self.failures

    def stop(self) -> None:
        """Returns once every caller has its last answer."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _call(self, place: int, caller: Callable[[], None]) -> None:
        while not self._stopped.is_set() and len(self.failures) < MOST_FAILURES:
            try:
                caller()
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}"[:600])
            else:
                self._answered[place] += 1
            self._stopped.wait(PAUSE_S)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
