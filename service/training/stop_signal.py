"""The commands that a worker has received. The thread that reads stdin sets them; the training checks them between two steps."""

from __future__ import annotations

import threading
from typing import IO

from service.training.protocol import CANCEL, FEATURES_READY, PAUSE


class StopRequested(Exception):
    """The worker must stop, and everything worth keeping has been written. The worker sends Stopped and ends."""


class StopSignal:
    """Three events. None of them is ever cleared: a worker that is asked to stop ends."""

    def __init__(self) -> None:
        self.pause = threading.Event()
        """Write a checkpoint and stop."""
        self.cancel = threading.Event()
        """Stop at once."""
        self.features_ready = threading.Event()
        """The server has written its features to the cache."""

    @property
    def requested(self) -> bool:
        """Whether the work must end now, by a pause or by a cancel."""
        return self.pause.is_set() or self.cancel.is_set()

    def check(self) -> None:
        """Raises StopRequested if the work must end. For code that has nothing to write before it stops."""
        if self.requested:
            raise StopRequested

    def check_cancel(self) -> None:
        """Raises StopRequested on `cancel` alone. For code that lets a pause wait for the next checkpoint."""
        if self.cancel.is_set():
            raise StopRequested

    def listen(self, commands: IO[str]) -> None:
        """Reads one command a line. The end of the stream means that the supervisor is gone: it counts as `pause`.

        Blocks until the end; runs in a thread of its own.
        """
        events = {PAUSE: self.pause, CANCEL: self.cancel, FEATURES_READY: self.features_ready}
        for line in commands:
            event = events.get(line.strip())
            if event is not None:
                event.set()
        self.pause.set()
