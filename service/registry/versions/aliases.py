"""The names of a model's versions: aliases, the share of a canary, and what was stable before. Pure.

Each change gives new Names and the moves that led there; `alias_book.py` says where both are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

STABLE, CANARY = "stable", "canary"
ROLLBACK = "rollback"
"""Reason of the move by which `stable` went back."""
DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Move:
    """An alias went from one version to another; None where it named none."""

    alias: str
    old: int | None
    new: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """What is kept of one model."""

    aliases: Mapping[str, int] = field(default_factory=dict)
    canary_share: float = 0.0
    rolled_back_reason: str = ""
    """Why the last canary lost its share; empty where it did not."""
    before: tuple[int, ...] = ()
    """Versions that were stable before this one, the latest last: where a rollback leads."""

    @property
    def stable(self) -> int | None:
        """What an empty version means."""
        return self.aliases.get(STABLE)

    @property
    def canary(self) -> int | None:
        """What is tried out."""
        return self.aliases.get(CANARY)

    def of(self, number: int) -> tuple[str, ...]:
        """The aliases that name a version, in order."""
        return tuple(sorted(alias for alias, named in self.aliases.items() if named == number))


Change = tuple[Names, Sequence[Move]]


def pointed(names: Names, alias: str, number: int, reason: str = "") -> Change:
    """An alias names this version from now on. A canary that becomes stable is one no longer."""
    old = names.aliases.get(alias)
    if old == number:
        return names, ()
    moves = [Move(alias, old, number, reason)]
    aliases, share, why = {**names.aliases, alias: number}, names.canary_share, names.rolled_back_reason
    if alias == CANARY:
        share, why = 0.0, ""  # what was found of another version does not hold for this one
    before = names.before
    if alias == STABLE:
        if old is not None:
            before = (*before, old)
        if names.canary == number:
            del aliases[CANARY]
            moves.append(Move(CANARY, number, None, "promoted"))
            share, why = 0.0, ""
    return Names(aliases, share, why, before), moves


def without(names: Names, alias: str) -> Change:
    """An alias is gone."""
    aliases = {name: number for name, number in names.aliases.items() if name != alias}
    after = replace(names, aliases=aliases)
    if alias == CANARY:
        after = replace(after, canary_share=0.0, rolled_back_reason="")
    return after, [Move(alias, names.aliases.get(alias), None)]


def back(names: Names) -> Change:
    """`stable` names what it named before. There must be such a version."""
    *before, number = names.before
    moves = [Move(STABLE, names.stable, number, ROLLBACK)]
    aliases, share, why = {**names.aliases, STABLE: number}, names.canary_share, names.rolled_back_reason
    if names.canary == number:
        del aliases[CANARY]
        moves.append(Move(CANARY, number, None, "promoted"))
        share, why = 0.0, ""
    return Names(aliases, share, why, tuple(before)), moves


def split(names: Names, canary: int, share: float) -> Change:
    """`canary` gets this share of the calls that name no version."""
    same = names.canary == canary and not names.rolled_back_reason
    moves = [] if same else [Move(CANARY, names.canary, canary)]
    return replace(names, aliases={**names.aliases, CANARY: canary}, canary_share=share, rolled_back_reason=""), moves


def stopped(names: Names, reason: str) -> Change:
    """The canary has lost its share; its alias stays, so that it can be looked at."""
    return replace(names, canary_share=0.0, rolled_back_reason=reason), [
        Move(CANARY, names.canary, names.canary, reason)
    ]


def forgotten(names: Names, number: int) -> Change:
    """A version that no alias names was deleted: no rollback leads there any more."""
    if number not in names.before:
        return names, ()
    return replace(names, before=tuple(n for n in names.before if n != number)), [Move(STABLE, number, None, DELETED)]


def replayed(moves: Sequence[Move]) -> tuple[int, ...]:
    """`Names.before` from the moves of `stable`, the oldest first."""
    before: list[int] = []
    for move in moves:
        if move.alias != STABLE:
            continue
        if move.reason == DELETED:
            before = [number for number in before if number != move.old]
        elif move.reason == ROLLBACK:
            before = before[:-1]
        elif move.old is not None:
            before.append(move.old)
    return tuple(before)


def held_back(names: Names, stable: int) -> Names:
    """What holds while the version that became stable is still to be loaded: `stable` names this one, and no traffic is split."""
    return replace(names, aliases={**names.aliases, STABLE: stable}, canary_share=0.0)


def among(names: Names, numbers: Collection[int]) -> Names:
    """Names without those of versions that are not there."""
    aliases = {alias: number for alias, number in names.aliases.items() if number in numbers}
    share = names.canary_share if CANARY in aliases and STABLE in aliases else 0.0
    before = tuple(number for number in names.before if number in numbers)
    return Names(aliases, share, names.rolled_back_reason, before)
