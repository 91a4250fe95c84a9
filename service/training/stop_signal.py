"""What a worker has been told: set by the thread that listens on stdin, looked at between two steps of the training."""

from __future__ import annotations

import threading
from typing import IO

from service.training.protocol import CANCEL, FEATURES_READY, PAUSE


class StopRequested(Exception):
    """The worker was told to stop, and whatever is worth keeping has been written. It says Stopped and ends."""


class StopSignal:
    """Three events. None of them is ever cleared: a worker that was told to stop does so and ends."""

    def __init__(self) -> None:
        self.pause = threading.Event()
        """Write a checkpoint and stop."""
        self.cancel = threading.Event()
        """Stop at once."""
        self.features_ready = threading.Event()
        """The server has put all features into their folder."""

    @property
    def resting(self) -> bool:
        """Whether the work is to end now, for either reason."""
        return self.pause.is_set() or self.cancel.is_set()

    def check(self) -> None:
        """Where there is nothing to keep: raises Rested if the work is to end."""
        if self.resting:
            raise StopRequested

    def listen(self, words: IO[str]) -> None:
        """One word a line until the end: the supervisor is gone, which counts as `pause`. Blocks; runs in a thread."""
        events = {PAUSE: self.pause, CANCEL: self.cancel, FEATURES_READY: self.features_ready}
        for line in words:
            event = events.get(line.strip())
            if event is not None:
                event.set()
        self.pause.set()
