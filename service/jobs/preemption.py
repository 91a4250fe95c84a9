"""When a worker rests so that calls to served models need not wait. Decided here, carried out by whoever drives the worker.

Two thresholds, so that a pressure near one of them does not stop and start the worker at each look; and a guard, so that a server
that is always busy still finishes its jobs some day: a worker that has rested for `longest_s` runs for a while whatever waits,
long enough that it is not held for more than `1 - share` of the time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreemptionLimits:
    """When to rest. Pressure is how long the longest-waiting row waits, over how long it may: 1 is just as long."""

    hold_at: float = 1.0
    """Rest from this pressure on."""
    go_below: float = 0.5
    """Go on once it stays below this …"""
    calm_s: float = 0.1
    """… for so long."""
    share: float = 0.1
    """Least share of the time in which a worker is not held, 0..1; 0 lets it rest for good."""
    longest_s: float = 4.5
    """How long it rests at most before it is its turn."""

    @property
    def turn_s(self) -> float:
        """How long its turn lasts then."""
        return self.longest_s * self.share / (1 - self.share) if self.share < 1 else float("inf")


class PreemptionPolicy:
    """Says hold or go for one worker. Every call brings the time, in seconds from anywhere, never an earlier one than before."""

    def __init__(self, limits: PreemptionLimits | None = None) -> None:
        self._limits = limits or PreemptionLimits()
        self._held_since: float | None = None
        self._calm_since: float | None = None
        self._turn_until = float("-inf")

    @property
    def held(self) -> bool:
        """What was decided last."""
        return self._held_since is not None

    def decide(self, now: float, pressure: float) -> bool:
        """Whether the worker is to be held from now on."""
        limits = self._limits
        if self._held_since is None:
            if pressure >= limits.hold_at and now >= self._turn_until and limits.share < 1:
                self._held_since, self._calm_since = now, None
            return self.held
        if pressure >= limits.go_below:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if self._calm_since is not None and now - self._calm_since >= limits.calm_s:
            self._held_since = None
        elif limits.share > 0 and now - self._held_since >= limits.longest_s:
            self._held_since, self._turn_until = None, now + limits.turn_s
        return self.held
