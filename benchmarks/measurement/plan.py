"""The plan of a run: its length, its home, and what it measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

CONCURRENCY = (1, 8, 32, 64)
"""Callers of the closed loops."""
SHARES = (0.3, 0.5, 0.7, 0.9)
"""Of a participant's own capacity, in the open loops."""
NONE: Mapping[str, tuple[int, ...]] = MappingProxyType({})


@dataclass(frozen=True)
class Plan:
    """The length of a run, its home and its participants."""

    home: Path
    rounds: int
    seconds: float
    quick: bool
    participants: frozenset[str]
    """Names of the participants; empty means all."""
    aims: bool = False
    """Whether only the figures of the aims are measured."""

    def admits(self, name: str) -> bool:
        """Whether a participant takes part."""
        return not self.participants or name in self.participants


@dataclass(frozen=True)
class Selection:
    """The points that a scenario measures."""

    servers: tuple[str, ...] = ()
    """Empty means all servers of the case."""
    callers: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: NONE)
    """Callers of the closed loop by server; CONCURRENCY for those without an entry."""
    shares: tuple[float, ...] = SHARES

    def callers_of(self, server: str) -> tuple[int, ...]:
        """Callers of the closed loop for a server."""
        return self.callers.get(server, CONCURRENCY)


ALL = Selection()
