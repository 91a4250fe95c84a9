"""Checks take turns with requests: after each batch of a check, the tiering thread pauses while requests are served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from service.runtime.network import Runtime, SharedPart
from service.types import Array, Tensors

PAUSE = 4.0
"""Seconds of pause for each second of a check: the checks then take a fifth of a core from a server with work."""
POLL_S = 0.02
"""How often a pause looks whether requests are still served."""


class Pacing:
    """Pauses of the tiering thread. `stop` may be called from any thread."""

    def __init__(self, busy: Callable[[], bool] = lambda: False) -> None:
        """`busy` says whether a request is served or waits for the device. From any thread."""
        self.paused = False
        """Whether there was a pause since this was last set to False: what is timed beside requests may be mistimed."""
        self._busy = busy
        self._stopped = threading.Event()

    def pause(self, seconds: float) -> None:
        """Waits, after a check that took `seconds`, as long as requests are served, up to `PAUSE` times as long."""
        left = seconds * PAUSE
        while left > 0 and not self._stopped.is_set() and self._busy():
            self.paused = True
            self._stopped.wait(min(left, POLL_S))
            left -= POLL_S

    def stop(self) -> None:
        """Ends all pauses."""
        self._stopped.set()


class PacedRuntime:
    """A runtime that pauses after each batch."""

    def __init__(self, runtime: Runtime, pacing: Pacing) -> None:
        self._runtime = runtime
        self._pacing = pacing
        self.tier, self.compiler = runtime.tier, runtime.compiler
        self.device, self.precision = runtime.device, runtime.precision
        self.shared: SharedPart | None = None

    @property
    def memory_bytes(self) -> int:
        """See `Runtime`."""
        return self._runtime.memory_bytes

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch, then pauses."""
        began = time.monotonic()
        outputs = self._runtime.run(tensors)
        self._pacing.pause(time.monotonic() - began)
        return outputs

    def free(self) -> None:
        """See `Runtime`."""
        self._runtime.free()
