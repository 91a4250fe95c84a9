"""What one job is to do next on this server: run, drain, pause or cancel.

Users' requests are durable: they lie in the row of the job (its state CANCELLING, its column `pause_wanted`), which every server
reads when it renews its lease. `JobControl` is what this server makes of them together with its own drain, and the only place
in the process that holds it: the runner feeds it, the worker's session follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum


class DesiredState(IntEnum):
    """Ordered: a later one replaces an earlier one, never the other way round."""

    RUN = 0
    DRAIN = 1
    """Pause, because this server stops; the job is QUEUED for the next server."""
    PAUSE = 2
    CANCEL = 3


class JobControl:
    """The desired state of one job while this server works on it. Used on the event loop."""

    def __init__(self, desired: DesiredState = DesiredState.RUN) -> None:
        self._desired = desired
        self._on_change: Callable[[DesiredState], None] | None = None

    @property
    def desired(self) -> DesiredState:
        """The state that the job is to be brought to."""
        return self._desired

    def request(self, desired: DesiredState) -> None:
        """Asks for a state; ignored unless it is later than the one that is desired already.

        A pause that its user takes back before the worker has ended still ends the worker: the store then queues the job again.
        """
        if desired > self._desired:
            self._desired = desired
            if self._on_change is not None:
                self._on_change(desired)

    def follow(self, on_change: Callable[[DesiredState], None]) -> None:
        """Calls `on_change` at every change from now on, and now if the job is not to run. One follower at a time."""
        self._on_change = on_change
        if self._desired is not DesiredState.RUN:
            on_change(self._desired)

    def unfollow(self) -> None:
        """Calls nothing any more."""
        self._on_change = None
