"""Versions whose files cannot be read: they are told of and can be deleted, and nothing else comes of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from model_zoo.errors import UnknownVersion
from model_zoo.versions import Versions
from service.registry.model_status import VersionStatus
from service.registry.states import ModelState


@dataclass(frozen=True, slots=True)
class DamagedVersion:
    """What is left of one."""

    model: str
    number: int
    reason: str
    """What cannot be read: one clause, without paths."""
    created: float
    """When its folder was last changed, in seconds since 1970."""
    size_bytes: int

    def status(self, aliases: tuple[str, ...] = ()) -> VersionStatus:
        """As it is listed."""
        return VersionStatus(
            self.number,
            ModelState.UNAVAILABLE,
            f"damaged: {self.reason}",
            aliases,
            created=self.created,
            size_bytes=self.size_bytes,
            damaged=self.reason,
        )


class DamagedVersions:
    """Those that were found. Threads note them; the event loop asks."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], DamagedVersion] = {}

    def note(self, versions: Versions, model: str, number: int, reason: str) -> None:
        """One cannot be read. Blocks."""
        try:
            created, size = versions.changed_and_size(model, number)
        except UnknownVersion:
            return
        self._found[model, number] = DamagedVersion(model, number, reason, created, size)

    def forget(self, model: str, number: int) -> None:
        """It is gone, or can be read again."""
        self._found.pop((model, number), None)

    def keep(self, listed: Collection[tuple[str, int]]) -> None:
        """Forgets those that are not there any more."""
        for one in set(self._found) - set(listed):
            self._found.pop(one, None)

    def of(self, model: str) -> dict[int, DamagedVersion]:
        """Those of a model, by number."""
        return {one.number: one for one in sorted(self._found.values(), key=lambda v: v.number) if one.model == model}

    def models(self) -> set[str]:
        """Names of the models that have one."""
        return {model for model, _ in tuple(self._found)}


def outline(damaged: Collection[DamagedVersion]) -> str:
    """What to say of a model all of whose versions are damaged."""
    newest = max(damaged, key=lambda one: one.number)
    others = len(damaged) - 1
    more = f", and so {'is 1 other' if others == 1 else f'are {others} others'}" if others else ""
    return f"version {newest.number} is damaged: {newest.reason}{more}"
