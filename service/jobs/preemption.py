"""When a worker is suspended so that calls to served models do not wait. The policy decides; the worker's session acts.

Two thresholds keep a pressure near one of them from suspending and resuming the worker all the time. A guard lets jobs end on a
server that is always busy: a worker that has been suspended for `longest_s` runs for a turn whatever the pressure is, long
enough that it is suspended for at most `1 - share` of the time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreemptionLimits:
    """Pressure is the time that the longest-waiting row has waited, over the time that it may wait: 1 is the limit."""

    suspend_at: float = 1.0
    """Suspend from this pressure on."""
    resume_below: float = 0.5
    """Resume after the pressure has stayed below this …"""
    calm_s: float = 0.1
    """… for so long."""
    share: float = 0.1
    """Least share of the time in which a worker is not suspended, 0..1; 0 lets it be suspended without end."""
    longest_s: float = 4.5
    """Longest time that it is suspended before its turn."""

    @property
    def turn_s(self) -> float:
        """How long a turn lasts."""
        return self.longest_s * self.share / (1 - self.share) if self.share < 1 else float("inf")


class PreemptionPolicy:
    """Decides for one worker. The time of a call is in seconds from any origin and never decreases."""

    def __init__(self, limits: PreemptionLimits | None = None) -> None:
        self._limits = limits or PreemptionLimits()
        self._suspended_since: float | None = None
        self._calm_since: float | None = None
        self._turn_until = float("-inf")

    @property
    def suspended(self) -> bool:
        """The last decision."""
        return self._suspended_since is not None

    def decide(self, now: float, pressure: float) -> bool:
        """Whether the worker is suspended from now on."""
        limits = self._limits
        if self._suspended_since is None:
            if pressure >= limits.suspend_at and now >= self._turn_until and limits.share < 1:
                self._suspended_since, self._calm_since = now, None
            return self.suspended
        if pressure >= limits.resume_below:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if self._calm_since is not None and now - self._calm_since >= limits.calm_s:
            self._suspended_since = None
        elif limits.share > 0 and now - self._suspended_since >= limits.longest_s:
            self._suspended_since, self._turn_until = None, now + limits.turn_s
        return self.suspended
