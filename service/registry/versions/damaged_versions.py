"""Versions and models whose files cannot be read: they are listed and can be deleted, and cannot be served.

A version with a card that only a newer Zoo knows is one of them, though nothing of it is damaged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from model_zoo.errors import UnknownVersion
from model_zoo.versions import Versions
from service.registry.model_status import VersionStatus
from service.registry.states import ModelState


@dataclass(frozen=True, slots=True)
class DamagedVersion:
    """A version that cannot be read."""

    model: str
    number: int
    reason: str
    """What cannot be read: one clause, without paths."""
    created: float
    """When its folder was last changed, in seconds since 1970."""
    size_bytes: int
    newer: bool = False
    """Whether its files are sound, and a newer Zoo can serve it."""

    @property
    def clause(self) -> str:
        """The problem, as the rest of a sentence on the version."""
        return f"cannot be served: {self.reason}" if self.newer else f"is damaged: {self.reason}"

    def status(self, aliases: tuple[str, ...] = ()) -> VersionStatus:
        """The version in a list of versions."""
        return VersionStatus(
            number=self.number,
            state=ModelState.UNAVAILABLE,
            reason=self.reason if self.newer else f"damaged: {self.reason}",
            aliases=aliases,
            created=self.created,
            size_bytes=self.size_bytes,
            damaged=self.reason,
        )


class DamagedVersions:
    """The damaged versions that were found, and the catalog's damaged cards. Threads add to them; the event loop reads."""

    def __init__(self, damaged_cards: Mapping[str, str] | None = None) -> None:
        """`damaged_cards`: cards of the catalog that cannot be read, and why; the mapping may change."""
        self._damaged_cards = damaged_cards if damaged_cards is not None else {}
        self._found: dict[tuple[str, int], DamagedVersion] = {}

    def note(self, versions: Versions, model: str, number: int, reason: str, *, newer: bool = False) -> None:
        """Adds a version. Blocks."""
        try:
            created, size = versions.changed_and_size(model, number)
        except UnknownVersion:
            return
        self._found[model, number] = DamagedVersion(model, number, reason, created, size, newer)

    def forget(self, model: str, number: int) -> None:
        """Removes a version that was deleted, or that can be read again."""
        self._found.pop((model, number), None)

    def keep(self, listed: Collection[tuple[str, int]]) -> None:
        """Removes versions that are not among these."""
        for one in set(self._found) - set(listed):
            self._found.pop(one, None)

    def of(self, model: str) -> dict[int, DamagedVersion]:
        """The damaged versions of a model, by number."""
        return {one.number: one for one in sorted(self._found.values(), key=lambda v: v.number) if one.model == model}

    def left_to_newer(self, model: str) -> set[int]:
        """The versions of a model that only the servers of a newer release serve."""
        return {one.number for one in self.of(model).values() if one.newer}

    def models(self) -> dict[str, str]:
        """Models with a damaged card, or with damaged versions, and what is damaged; in order of name."""
        names = {model for model, _ in tuple(self._found)}
        tuned = {name: outline(found) for name in names if (found := tuple(self.of(name).values()))}
        cards = {name: f"its card is damaged: {reason}" for name, reason in self._damaged_cards.items()}
        return dict(sorted((tuned | cards).items()))


def outline(damaged: Collection[DamagedVersion]) -> str:
    """One sentence on a model whose versions are all damaged."""
    newest = max(damaged, key=lambda one: one.number)
    others = len(damaged) - 1
    more = f", and so {'is 1 other' if others == 1 else f'are {others} others'}" if others else ""
    if newest.newer and others:
        more = f"; {others} more cannot be read"
    return f"version {newest.number} {newest.clause}{more}"
