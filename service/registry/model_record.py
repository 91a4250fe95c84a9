"""One model as the registry keeps it: its versions, its aliases, and the choice of the version that answers a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from service.errors import NotFound
from service.registry.loading.memory_ledger import Ledger
from service.registry.model_status import ModelStatus, Traffic, VersionStatus
from service.registry.model_version import FIRST_VERSION, NOT_LOADED, ModelVersion, runtime_info
from service.registry.options import limits_of
from service.registry.states import ModelState
from service.registry.versions.aliases import STABLE, AliasSet
from service.registry.versions.revisioned_aliases import RevisionedAliases
from service.settings import ModelOptions

LONGEST_NUMBER = 18
"""Most digits of a version's number; a longer one is unknown without being parsed."""
SLACK = 1e-9
"""Rounding tolerance, so that ten times a tenth is one."""


class StoppedCanary(NamedTuple):
    """A canary that left its bounds on this server."""

    number: int
    reason: str


class TrafficObserver(Protocol):
    """Compares the canary of a model with its stable version."""

    def attach(self) -> None:
        """Observes the calls of both versions as they are loaded now."""


class ModelRecord:
    """A model and its versions. A model of the catalog has version 1, which is stable; a tuned model has those on disk."""

    def __init__(self, name: str, given: ModelOptions, versions: Iterable[ModelVersion], *, tuned: bool) -> None:
        self.name = name
        self.given = given
        """Options that were given for this model; all others have their defaults."""
        self.tuned = tuned
        self.versions = {version.number: version for version in versions}
        self.active = AliasSet() if tuned else AliasSet({STABLE: FIRST_VERSION})
        """The aliases in effect on this server. They may lag behind the stored ones, see `AliasActivation`."""
        self.stored = RevisionedAliases(self.active)
        """The aliases that all servers share, as this server last read or wrote them."""
        self.stopped_canary: StoppedCanary | None = None
        """Set until the stored aliases say so, too."""
        self.observer: TrafficObserver | None = None
        """Set while traffic is split."""
        self.damaged: Mapping[int, str] = {}
        """Versions whose files cannot be read, and what is wrong with each, as the rest of a sentence on it."""
        self.reported_state: ModelState | None = None
        """The state that listeners know."""
        self._canary_due = 0.0

    @property
    def primary(self) -> ModelVersion:
        """The version whose state is the model's: the stable version, or the newest where none is stable."""
        return self.versions.get(self.active.stable or 0) or self.versions[max(self.versions)]

    def find(self, version: str) -> ModelVersion:
        """The version of a number or an alias; empty means `stable`. Raises NotFound, which lists the versions."""
        number: int | None
        if _is_number(version):
            number = int(version) if str(int(version)) == version else None
        else:
            number = self.active.targets.get(version or STABLE)
        found = self.versions.get(number) if number is not None else None
        if found is None:
            raise self._unknown(version)
        return found

    def pick(self, version: str) -> ModelVersion:
        """The version that answers a call: as `find`, except that the canary gets its share of calls that name no version.

        The share is exact: of n calls the canary gets n times its share, rounded down, evenly spread. A canary that does not
        answer gets none.
        """
        share = self.active.canary_share
        if not version and share:
            self._canary_due += share
            if self._canary_due > 1.0 - SLACK:
                self._canary_due -= 1.0
                canary = self.versions.get(self.active.canary or 0)
                if canary is not None and canary.served is not None:
                    return canary
        return self.find(version)

    def in_service(self) -> list[ModelVersion]:
        """The versions that answer calls without a version: stable and canary."""
        numbers = [self.active.stable, self.active.canary]
        return [self.versions[number] for number in dict.fromkeys(numbers) if number in self.versions]

    def unnamed(self) -> list[ModelVersion]:
        """READY versions that no alias names and that the next rollback does not lead to."""
        named = {*self.active.targets.values(), *self.stored.aliases.targets.values()}
        named |= {*self.active.previous_stable[-1:]}
        return [v for number, v in self.versions.items() if number not in named and v.state is ModelState.READY]

    def is_ready(self, number: int | None) -> bool:
        """Whether a version is known and READY."""
        version = self.versions.get(number or 0)
        return version is not None and version.state is ModelState.READY

    @property
    def lags(self) -> bool:
        """Whether stored aliases are not in effect here yet."""
        return self.active.targets != self.stored.aliases.targets

    # ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def traffic(self) -> Traffic:
        """Which versions answer calls that name no version."""
        active = self.active
        return Traffic(active.stable or 0, active.canary or 0, active.canary_share, active.rolled_back_reason)

    def status(self, ledger: Ledger, version: ModelVersion | None = None) -> ModelStatus:
        """The state of the model now, seen through one of its versions; without one, through the primary version."""
        version = version or self.primary
        state, reason = version.visible_state
        loaded = tuple(sorted(number for number, v in self.versions.items() if v.served is not None))
        return ModelStatus(
            name=self.name,
            card=version.card,
            state=state,
            reason=reason,
            versions=loaded,
            aliases=self.active.targets if self.tuned or loaded else {},
            labels=version.served.task.labels if version.served is not None else (),
            runtime=runtime_info(version, ledger),
            limits=limits_of(version.options),
            ever_loaded=version.loading is not None or version.reason != NOT_LOADED,
            options=version.options,
            base=version.card.source.base if version.card.source.kind == "tuned" else "",
            traffic=self.traffic(),
        )

    def version_statuses(self, ledger: Ledger) -> list[VersionStatus]:
        """Every version, the newest first."""
        return [self.version_status(self.versions[number], ledger) for number in sorted(self.versions, reverse=True)]

    def version_status(self, version: ModelVersion, ledger: Ledger) -> VersionStatus:
        """One of the versions."""
        state, reason = version.visible_state
        published = version.published
        return VersionStatus(
            number=version.number,
            state=state,
            reason=reason,
            aliases=self.active.of(version.number),
            lineage=None if published is None else published.lineage,
            created=None if published is None else published.created,
            size_bytes=0 if published is None else published.size_bytes,
            memory_bytes=_own_bytes(version, ledger),
            runtime=runtime_info(version, ledger),
        )

    def _unknown(self, version: str) -> NotFound:
        # An alias of a damaged version is stored and not in effect.
        number = int(version) if _is_number(version) else self.stored.aliases.targets.get(version or STABLE, 0)
        if number in self.damaged:
            which = "it" if version == str(number) else f"version {number}, which it names,"
            return NotFound("version", version or STABLE, known=f"{which} {self.damaged[number]}")
        if not self.tuned:
            known = f"model {self.name!r} has version {FIRST_VERSION}, which is {STABLE!r}"
            return NotFound("version", version[:64], known=known)
        aliases = [f"{alias!r} is {number}" for alias, number in sorted(self.active.targets.items())]
        numbers = ", ".join(str(number) for number in sorted(self.versions))
        known = f"model {self.name!r} has versions {numbers}" + (f"; {', '.join(aliases)}" if aliases else "")
        if version in ("", STABLE):
            known += "; none has become 'stable' yet, so call one by its number, or promote it"
        return NotFound("version", version[:64] or STABLE, known=known)


def _is_number(version: str) -> bool:
    return version.isascii() and version.isdecimal() and len(version) <= LONGEST_NUMBER


def _own_bytes(version: ModelVersion, ledger: Ledger) -> int:
    """Memory beside what a version shares with its base; 0 where it is not loaded."""
    if version.head is not None:
        return version.head.head.memory_bytes
    holding = ledger.holding(version.key)
    return 0 if holding is None else holding.own
