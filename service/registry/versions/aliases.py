"""The aliases of a model: which version each names, the share of the canary, and which versions were stable before. Pure.

Each change returns a new AliasSet and the moves that led there; `revisioned_aliases.py` says how both are stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

STABLE, CANARY = "stable", "canary"
ROLLBACK = "rollback"
"""Reason of the move by which `stable` went back."""
DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class AliasMove:
    """An alias moved from one version to another; None where it named none."""

    alias: str
    old: int | None
    new: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AliasSet:
    """The aliases of one model."""

    targets: Mapping[str, int] = field(default_factory=dict)
    """Alias → number of the version that it names."""
    canary_share: float = 0.0
    rolled_back_reason: str = ""
    """Why the last canary lost its share; empty where it did not."""
    previous_stable: tuple[int, ...] = ()
    """Versions that were stable before the present one, the latest last: a rollback leads to that."""

    @property
    def stable(self) -> int | None:
        """The version that an empty version means."""
        return self.targets.get(STABLE)

    @property
    def canary(self) -> int | None:
        """The version on trial."""
        return self.targets.get(CANARY)

    @property
    def split(self) -> tuple[int | None, int | None, float]:
        """How calls that name no version are split: stable, canary and the canary's share."""
        return self.stable, self.canary, self.canary_share

    def of(self, number: int) -> tuple[str, ...]:
        """The aliases that name a version, in order."""
        return tuple(sorted(alias for alias, named in self.targets.items() if named == number))


AliasChange = tuple[AliasSet, Sequence[AliasMove]]


def point_alias(aliases: AliasSet, alias: str, number: int, reason: str = "") -> AliasChange:
    """Makes an alias name this version. A canary that becomes stable is no canary any more."""
    old = aliases.targets.get(alias)
    if old == number:
        return aliases, ()
    moves = [AliasMove(alias, old, number, reason)]
    targets, share, why = {**aliases.targets, alias: number}, aliases.canary_share, aliases.rolled_back_reason
    if alias == CANARY:
        share, why = 0.0, ""  # the finding was about another version
    previous = aliases.previous_stable
    if alias == STABLE:
        if old is not None:
            previous = (*previous, old)
        if aliases.canary == number:
            del targets[CANARY]
            moves.append(AliasMove(CANARY, number, None, "promoted"))
            share, why = 0.0, ""
    return AliasSet(targets, share, why, previous), moves


def remove_alias(aliases: AliasSet, alias: str) -> AliasChange:
    """Removes an alias."""
    after = replace(aliases, targets={name: number for name, number in aliases.targets.items() if name != alias})
    if alias == CANARY:
        after = replace(after, canary_share=0.0, rolled_back_reason="")
    return after, [AliasMove(alias, aliases.targets.get(alias), None)]


def roll_back(aliases: AliasSet) -> AliasChange:
    """Makes `stable` name the version that it named before. There must be such a version."""
    *previous, number = aliases.previous_stable
    moves = [AliasMove(STABLE, aliases.stable, number, ROLLBACK)]
    targets, share, why = {**aliases.targets, STABLE: number}, aliases.canary_share, aliases.rolled_back_reason
    if aliases.canary == number:
        del targets[CANARY]
        moves.append(AliasMove(CANARY, number, None, "promoted"))
        share, why = 0.0, ""
    return AliasSet(targets, share, why, tuple(previous)), moves


def split_traffic(aliases: AliasSet, canary: int, share: float) -> AliasChange:
    """Gives `canary` this share of the calls that name no version."""
    same = aliases.canary == canary and not aliases.rolled_back_reason
    moves = [] if same else [AliasMove(CANARY, aliases.canary, canary)]
    targets = {**aliases.targets, CANARY: canary}
    return replace(aliases, targets=targets, canary_share=share, rolled_back_reason=""), moves


def stop_canary(aliases: AliasSet, reason: str) -> AliasChange:
    """Takes its share from the canary; the alias stays, so that the version can be examined."""
    moves = [AliasMove(CANARY, aliases.canary, aliases.canary, reason)]
    return replace(aliases, canary_share=0.0, rolled_back_reason=reason), moves


def drop_version(aliases: AliasSet, number: int) -> AliasChange:
    """Removes a deleted version, which no alias names, from those that a rollback leads to."""
    if number not in aliases.previous_stable:
        return aliases, ()
    previous = tuple(n for n in aliases.previous_stable if n != number)
    return replace(aliases, previous_stable=previous), [AliasMove(STABLE, number, None, DELETED)]


def replay_stable(moves: Sequence[AliasMove]) -> tuple[int, ...]:
    """`AliasSet.previous_stable` from the moves of `stable`, the oldest first."""
    previous: list[int] = []
    for move in moves:
        if move.alias != STABLE:
            continue
        if move.reason == DELETED:
            previous = [number for number in previous if number != move.old]
        elif move.reason == ROLLBACK:
            previous = previous[:-1]
        elif move.old is not None:
            previous.append(move.old)
    return tuple(previous)


def keep_stable(aliases: AliasSet, stable: int) -> AliasSet:
    """The aliases in effect while the new stable version is loaded: `stable` names this one, and no traffic is split."""
    return replace(aliases, targets={**aliases.targets, STABLE: stable}, canary_share=0.0)


def restrict_to(aliases: AliasSet, numbers: Collection[int]) -> AliasSet:
    """Aliases without those of versions that do not exist."""
    targets = {alias: number for alias, number in aliases.targets.items() if number in numbers}
    share = aliases.canary_share if CANARY in targets and STABLE in targets else 0.0
    previous = tuple(number for number in aliases.previous_stable if number in numbers)
    return AliasSet(targets, share, aliases.rolled_back_reason, previous)


def in_effect(aliases: AliasSet, known: Collection[int], newer: Collection[int]) -> AliasSet:
    """Aliases on a server that has some of the versions, and leaves others to the servers of a newer release. Where `stable` is
    one of the latter, it names here the last known version before it, as on a server that ran when it moved."""
    here = restrict_to(aliases, known)
    if aliases.stable in newer and here.previous_stable:
        return keep_stable(here, here.previous_stable[-1])
    return here
