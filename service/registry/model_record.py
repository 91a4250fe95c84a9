"""One model as the registry keeps it: its versions, what names them, and where calls that name none go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from service.errors import NotFound
from service.registry.loading.memory_ledger import Ledger
from service.registry.model_status import ModelStatus, Traffic, VersionStatus
from service.registry.model_version import (
    FIRST_VERSION,
    NOT_LOADED,
    ModelVersion,
    runtime_info,
)
from service.registry.options import limits_of
from service.registry.states import ModelState
from service.registry.versions.alias_book import RevisionedAliases
from service.registry.versions.aliases import STABLE, Names
from service.registry.versions.canary import CanaryWatch
from service.settings import ModelOptions

LONGEST_NUMBER = 18
"""Digits of a version's number that are read at all."""
SLACK = 1e-9
"""So that ten times a tenth is one."""


class Stopped(NamedTuple):
    """A canary that left its bounds here."""

    number: int
    reason: str


class ModelRecord:
    """A model's versions. A model of the catalog has one, number 1, which is stable; a tuned one has those on disk."""

    def __init__(self, name: str, given: ModelOptions, entries: Iterable[ModelVersion], *, tuned: bool) -> None:
        self.name = name
        self.given = given
        self.tuned = tuned
        self.entries = {entry.number: entry for entry in entries}
        self.names = Names() if tuned else Names({STABLE: FIRST_VERSION})
        """What holds here: for a while less than what is kept, see `Naming._hold`."""
        self.kept = RevisionedAliases(self.names)
        """What all servers have agreed on, as far as this one knows."""
        self.stopped: Stopped | None = None
        """Set until it is kept, too."""
        self.watch: CanaryWatch | None = None
        """Set while traffic is split."""
        self.damaged: Mapping[int, str] = {}
        """Versions whose files cannot be read, and why."""
        self.told: ModelState | None = None
        """The state that listeners know."""
        self._due = 0.0

    @property
    def primary(self) -> ModelVersion:
        """Who speaks for the model: the stable version, or the newest where none is."""
        return self.entries.get(self.names.stable or 0) or self.entries[max(self.entries)]

    def find(self, version: str) -> ModelVersion:
        """The version that a number or an alias means; empty means `stable`. Raises NotFound that says what there is."""
        number: int | None
        if version.isascii() and version.isdecimal() and len(version) <= LONGEST_NUMBER:
            number = int(version) if str(int(version)) == version else None
        else:
            number = self.names.aliases.get(version or STABLE)
        entry = self.entries.get(number) if number is not None else None
        if entry is None:
            raise self._unknown(version)
        return entry

    def pick(self, version: str) -> ModelVersion:
        """Who answers a call. As `find`, but that the canary gets its share of calls that name no version.

        The share is kept exactly: of n calls the canary gets n times its share, rounded down, evenly spread. One that does
        not answer gets none.
        """
        share = self.names.canary_share
        if not version and share:
            self._due += share
            if self._due > 1.0 - SLACK:
                self._due -= 1.0
                canary = self.entries.get(self.names.canary or 0)
                if canary is not None and canary.served is not None:
                    return canary
        return self.find(version)

    def in_service(self) -> list[ModelVersion]:
        """Those that calls reach by `stable` and by the canary's share."""
        numbers = [self.names.stable, self.names.canary]
        return [self.entries[number] for number in dict.fromkeys(numbers) if number in self.entries]

    def unnamed(self) -> list[ModelVersion]:
        """Loaded versions that no alias names, and to which no rollback would lead next."""
        kept = {*self.names.aliases.values(), *self.kept.names.aliases.values(), *self.names.before[-1:]}
        return [e for number, e in self.entries.items() if number not in kept and e.state is ModelState.READY]

    @property
    def behind(self) -> bool:
        """Whether names are kept that do not hold here yet."""
        return self.names.aliases != self.kept.names.aliases

    # ── what is told of it ────────────────────────────────────────────────────────────────────────────────────

    def traffic(self) -> Traffic:
        """Where calls that name no version go."""
        names = self.names
        return Traffic(names.stable or 0, names.canary or 0, names.canary_share, names.rolled_back_reason)

    def status(self, ledger: Ledger, entry: ModelVersion | None = None) -> ModelStatus:
        """What there is to say of the model at this moment, or of it as one version of it is."""
        entry = entry or self.primary
        limits = limits_of(entry.options)
        state, reason = entry.seen
        loaded = tuple(sorted(number for number, e in self.entries.items() if e.served is not None))
        return ModelStatus(
            self.name,
            entry.card,
            state,
            reason,
            loaded,
            self.names.aliases if self.tuned or loaded else {},
            entry.served.task.labels if entry.served is not None else (),
            runtime_info(entry, ledger),
            limits.max_batch_size,
            limits.max_queue_size,
            limits.max_queue_delay_s,
            entry.loading is not None or entry.reason != NOT_LOADED,
            entry.options,
            entry.card.source.base if entry.card.source.kind == "tuned" else "",
            self.traffic(),
        )

    def versions(self, ledger: Ledger) -> list[VersionStatus]:
        """Every version, the newest first."""
        return [self.version(self.entries[number], ledger) for number in sorted(self.entries, reverse=True)]

    def version(self, entry: ModelVersion, ledger: Ledger) -> VersionStatus:
        """One of them."""
        state, reason = entry.seen
        line = ledger.holding(entry.key)
        held = entry.head.head.memory_bytes if entry.head is not None else line.own if line is not None else 0
        on_disk = entry.version
        return VersionStatus(
            entry.number,
            state,
            reason,
            self.names.of(entry.number),
            None if on_disk is None else on_disk.lineage,
            None if on_disk is None else on_disk.created,
            0 if on_disk is None else on_disk.size_bytes,
            held,
            runtime_info(entry, ledger),
        )

    def _unknown(self, version: str) -> NotFound:
        if version.isascii() and version.isdecimal() and len(version) <= LONGEST_NUMBER:
            number = int(version)
        else:  # what an alias names that is damaged is kept, and holds no more
            number = self.kept.names.aliases.get(version or STABLE, 0)
        if number in self.damaged:
            which = "it" if version == str(number) else f"version {number}, which it names,"
            return NotFound("version", version or STABLE, known=f"{which} is damaged: {self.damaged[number]}")
        if not self.tuned:
            known = f"model {self.name!r} has version {FIRST_VERSION}, which is {STABLE!r}"
            return NotFound("version", version[:64], known=known)
        aliases = [f"{alias!r} is {number}" for alias, number in sorted(self.names.aliases.items())]
        numbers = ", ".join(str(number) for number in sorted(self.entries))
        known = f"model {self.name!r} has versions {numbers}" + (f"; {', '.join(aliases)}" if aliases else "")
        if version in ("", STABLE):
            known += "; none has become 'stable' yet, so call one by its number, or promote it"
        return NotFound("version", version[:64] or STABLE, known=known)
